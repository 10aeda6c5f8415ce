"""Quotes: streamed until both sides have arrived or the deadline passes. They are live, delayed or frozen."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal

from brokers.base import TimedCache
from brokers.broker_types import ConnectionSettings, ContractFacts, ContractPrice, PriceKind
from brokers.exceptions import MarketDataUnavailable
from brokers.ibkr import mapping
from brokers.ibkr.connection import GatewayConnection
from brokers.ibkr.contracts import to_ib_contract
from brokers.ibkr.errors import Effect, effect_of, error_text
from brokers.ibkr.ib_client import MESSAGES_PER_SECOND
from brokers.ibkr.limits import Limits
from brokers.ibkr.quote_stream import QuoteStream
from brokers.ibkr.settings import GatewaySettings

logger = logging.getLogger("rebalancer.brokers")

NO_MARKET_DATA_LINE = 101
FARM_LOST, FARM_NOTICES = 2103, frozenset({2103, 2104, 2108, 2119})
"""Notices about the connection of a market data farm; each ends with a colon and the farm's name."""
MAX_NAMED = 10
"""Number of symbols that a message names."""
LIVE, DELAYED = 1, 3
"""Market data types. With DELAYED the broker sends live quotes where the login has a subscription."""


class Quotes:
    """The quote streams of a connection. Concurrent requests for a symbol share its stream."""

    def __init__(
        self,
        settings: ConnectionSettings,
        gateway: GatewaySettings,
        limits: Limits,
        connection: GatewayConnection,
        cache: TimedCache[ContractPrice],
    ) -> None:
        self._settings = settings
        self._gateway = gateway
        self._limits = limits
        self._connection = connection
        self._cache = cache
        self._streams: dict[int, QuoteStream] = {}
        self._request_ids: dict[str, int] = {}  # by symbol
        self._data_type = LIVE
        self._mids: dict[str, Decimal] = {}  # of closed streams
        self._farms_lost: dict[str, str] = {}  # the broker's message by farm
        self._release: asyncio.TimerHandle | None = None
        self._retries = 0
        self._retries_since = float("-inf")

    # ---- fetching

    async def fetch(self, contracts: Mapping[str, ContractFacts]) -> dict[str, ContractPrice]:
        """Return the quotes of the contracts that arrive before the deadline.

        Raises:
            MarketDataUnavailable: The broker refuses every quote; the message is the broker's.
        """
        await self._connection.until_broker_up()
        self._set_data_type()
        requested: dict[str, QuoteStream] = {}
        try:
            for symbol, facts in contracts.items():
                requested[symbol] = stream = self._stream(facts)
                stream.waiters += 1
            await self._until_complete(list(requested.values()))
        except TimeoutError:
            missing = [stream for stream in requested.values() if not stream.is_complete]
            logger.warning("No two-sided quote in time for %s", ", ".join(stream.facts.symbol for stream in missing))
            for stream in missing:
                stream.line_message = stream.line_message or " ".join(self._farms_lost.values())
        finally:
            for stream in requested.values():
                stream.waiters -= 1
            self._release_later(self._limits.quote_reuse_seconds)
        _ = self._connection.ib  # raises if the connection was lost
        refused = [stream for stream in requested.values() if stream.refused]
        if requested and len(refused) == len(requested):
            raise MarketDataUnavailable(_reasons(refused))
        for stream in refused:
            logger.warning("No quote for %s: %s", stream.facts.symbol, stream.message)
        found = {symbol: stream.price() for symbol, stream in requested.items()}
        return {symbol: price for symbol, price in found.items() if price is not None}

    def mid(self, symbol: str) -> Decimal | None:
        """Return the middle of the last quote, to mark positions; not for orders."""
        stream = self._streams.get(self._request_ids.get(symbol, 0))
        return (stream.mid() if stream else None) or self._mids.get(symbol)

    def forget(self) -> None:
        """Drop all streams after the subscriptions were lost (1101). Pending and later requests open new ones."""
        for stream in self._streams.values():
            stream.has_line = False
        self._streams.clear()
        self._request_ids.clear()

    async def _until_complete(self, streams: list[QuoteStream]) -> None:
        async with asyncio.timeout(self._deadline_seconds(streams)) as deadline:
            finding_lines = asyncio.create_task(self._find_lines(streams, deadline), name="market data lines")
            try:
                for stream in streams:
                    while not stream.is_complete and self._connection.is_up:
                        stream.updated.clear()
                        await _first(stream.updated, self._connection.ended)
            finally:
                finding_lines.cancel()
                (error,) = await asyncio.gather(finding_lines, return_exceptions=True)
                if isinstance(error, Exception):  # optional work; `fetch` reports a lost connection
                    logger.warning("The search for market data lines failed: %r", error)

    def _deadline_seconds(self, streams: list[QuoteStream]) -> float:
        """Return the timeout; longer if the message rate does not allow all requests and releases within it."""
        return max(self._settings.quote_timeout_seconds, 2 * len(streams) / MESSAGES_PER_SECOND)

    async def _find_lines(self, streams: list[QuoteStream], deadline: asyncio.Timeout) -> None:
        """Find a quote or a market data line for each stream without one, and extend the deadline meanwhile."""
        loop = asyncio.get_running_loop()
        last = loop.time() + max(self._limits.max_line_wait_seconds, self._deadline_seconds(streams))
        while True:
            await asyncio.sleep(self._limits.line_retry_seconds)  # another client's release sends no event
            if not (without_line := [stream for stream in streams if stream.needs_line]):
                continue
            await self._copy_from_cache(without_line)
            for stream in without_line:
                # A concurrent request for the symbol may have opened it, or used up the retries.
                if stream.needs_line and self._may_retry(loop.time()):
                    self._remove(self._request_ids.get(stream.facts.symbol), stream)
                    self._request(stream)
            deadline.reschedule(min(loop.time() + self._deadline_seconds(streams), last))

    def _may_retry(self, now: float) -> bool:
        if now - self._retries_since >= self._limits.line_retry_seconds:
            self._retries_since, self._retries = now, 0
        self._retries += 1
        return self._retries <= self._limits.max_lines_per_retry

    async def _copy_from_cache(self, streams: list[QuoteStream]) -> None:
        """Use fresh quotes of other clients: accounts of one login mostly need the same symbols."""
        by_symbol = {stream.facts.symbol: stream for stream in streams}
        now = datetime.now(UTC)
        for symbol, price in (await self._cache.get(list(by_symbol))).items():
            is_allowed = price.kind is PriceKind.LIVE or self._gateway.allow_delayed_quotes
            is_fresh = (now - price.as_of).total_seconds() < self._limits.quote_reuse_seconds
            if is_allowed and is_fresh and price.is_two_sided:
                by_symbol[symbol].copy(price)

    # ---- streams and market data lines

    def _set_data_type(self) -> None:
        wanted = self._gateway.market_data_type
        if wanted == LIVE and self._gateway.allow_delayed_quotes:
            wanted = DELAYED
        if wanted != self._data_type:
            self._connection.ib.client.reqMarketDataType(wanted)
            self._data_type = wanted

    def _stream(self, facts: ContractFacts) -> QuoteStream:
        request_id = self._request_ids.get(facts.symbol)
        if request_id is not None:
            stream = self._streams[request_id]
            if stream.waiters or stream.is_fresh(self._limits.quote_reuse_seconds):
                return stream
            self._close(request_id)
        stream = QuoteStream(facts)
        self._request(stream)
        return stream

    def _request(self, stream: QuoteStream) -> None:
        """Request the stream under a new request id, if this client has a market data line for it."""
        client = self._connection.ib.client
        stream.has_line = self._has_free_line()
        if not stream.has_line:
            limit = self._limits.max_market_data_lines
            stream.line_message = f"More than {limit} symbols were requested at once."
        request_id = client.getReqId()
        self._streams[request_id] = stream
        self._request_ids[stream.facts.symbol] = request_id
        if stream.has_line:
            client.reqMktData(request_id, to_ib_contract(stream.facts), "", False, False, [])

    def _has_free_line(self) -> bool:
        """Return whether this client has a free line. If needed, close its oldest stream that is not needed."""
        streaming = {request_id: stream for request_id, stream in self._streams.items() if stream.has_line}
        if len(streaming) < self._limits.max_market_data_lines:
            return True
        unneeded = (number for number, stream in streaming.items() if stream.is_complete or not stream.waiters)
        if (request_id := next(unneeded, None)) is None:
            return False
        self._close(request_id)
        return True

    def _close(self, request_id: int) -> None:
        stream = self._streams[request_id]
        self._remove(request_id, stream)
        if (mid := stream.mid()) is not None:
            self._mids[stream.facts.symbol] = mid
        if stream.has_line and not stream.refused:
            self._connection.ib.client.cancelMktData(request_id)

    def _remove(self, request_id: int | None, stream: QuoteStream) -> None:
        """Remove the stream if it still has this request id. Its symbol can have a newer stream."""
        if request_id is None or self._streams.get(request_id) is not stream:
            return
        del self._streams[request_id]
        if self._request_ids.get(stream.facts.symbol) == request_id:
            del self._request_ids[stream.facts.symbol]

    def _release_later(self, seconds: float) -> None:
        if self._release is not None:
            self._release.cancel()
        self._release = asyncio.get_running_loop().call_later(seconds, self._release_unused)

    def _release_unused(self) -> None:
        if not self._connection.is_up:
            return
        unused = [request_id for request_id, stream in self._streams.items() if not stream.waiters]
        for request_id in unused[: self._limits.max_lines_per_release]:
            self._close(request_id)
        if len(unused) > self._limits.max_lines_per_release:
            self._release_later(self._limits.release_interval_seconds)

    # ---- messages of the broker

    def on_tick(self, request_id: int, tick_type: int, value: float) -> None:
        """Pass a tick to its stream."""
        if (stream := self._streams.get(request_id)) is not None:
            stream.on_tick(tick_type, value)

    def on_data_type(self, request_id: int, data_type: int) -> None:
        """Set whether the following ticks of a stream are live, frozen or delayed."""
        if request_id in self._streams:
            self._streams[request_id].kind = mapping.PRICE_KINDS.get(data_type, PriceKind.DELAYED)

    def on_error(self, request_id: int, code: int, message: str) -> None:
        """Process an error about a stream or a farm. Most errors mean that there is no quote."""
        if code in FARM_NOTICES:
            self._on_farm_notice(code, message)
        stream = self._streams.get(request_id)
        if stream is None or effect_of(code) is Effect.NOTICE:
            return
        if code == NO_MARKET_DATA_LINE:
            stream.has_line, stream.line_message = False, error_text(code, message)
        else:
            stream.message = error_text(code, message)
            stream.refused = code not in mapping.QUOTE_FOLLOWS
        stream.updated.set()

    def _on_farm_notice(self, code: int, message: str) -> None:
        farm = message.rpartition(":")[2].strip()
        if code == FARM_LOST:
            self._farms_lost[farm] = error_text(code, message)
        else:
            self._farms_lost.pop(farm, None)


def _reasons(refused: Sequence[QuoteStream]) -> str:
    """Return each message of the broker with the symbols that it is about."""
    symbols: dict[str, list[str]] = {}
    for stream in refused:
        symbols.setdefault(stream.message, []).append(stream.facts.symbol)
    named = {message: ", ".join(some[:MAX_NAMED]) for message, some in symbols.items()}
    more = {message: f" and {len(some) - MAX_NAMED} more" for message, some in symbols.items() if some[MAX_NAMED:]}
    return "; ".join(f"{named[message]}{more.get(message, '')}: {message}" for message in sorted(symbols))


async def _first(*events: asyncio.Event) -> None:
    """Wait for the first of the events."""
    waiting = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
