"""Quotes: streamed until both sides are there or the deadline passes; live, delayed and frozen told apart."""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal

from brokers.base import PriceCache
from brokers.broker_types import ConnectionSettings, ContractFacts, ContractPrice, PriceKind
from brokers.exceptions import MarketDataUnavailable
from brokers.ibkr import mapping
from brokers.ibkr.connection import GatewayConnection
from brokers.ibkr.contracts import to_wire
from brokers.ibkr.errors import Effect, effect_of, error_text
from brokers.ibkr.ib_client import MESSAGES_PER_SECOND

logger = logging.getLogger("rebalancer.brokers")

MOST_LINES = 80
"""What one client follows at once; a login has 100 market data lines, for all its clients together."""
NO_LINE = 101
LINE_AGAIN_SECONDS = 0.1
"""How often is looked for what finds no line: for the quote of another client, or for a line that it has let go."""
MOST_AGAIN = 2
"""Lines that are asked for again at once, for all who wait: orders go over the same connection, at its pace."""
MOST_FOR_LINES_SECONDS = 10.0
"""For so long they are looked for; then what found neither goes without a quote."""
FRESH_SECONDS = 2.0
"""For so long a quote is used again; then its line is let go, for the login's other clients."""
MOST_LET_GO = 20
"""Lines that are let go at once, for the same reason."""
LET_GO_AGAIN_SECONDS = 1.0
"""After so long the next ones are let go."""
DELAYED_IF_NOT_LIVE = 3
SIDES = {1: "bid", 66: "bid", 2: "ask", 67: "ask", 4: "last", 68: "last", 9: "close", 75: "close"}
DELAYED_TICKS = frozenset({66, 67, 68, 75})


@dataclass
class Stream:
    """What has come for one symbol."""

    facts: ContractFacts
    sides: dict[str, Decimal | None] = field(default_factory=dict)
    kind: PriceKind = PriceKind.LIVE
    as_of: datetime | None = None
    words: str = ""
    refused: bool = False
    has_line: bool = True
    words_of_line: str = ""  # why it had none the last time, until something comes over one
    heard: asyncio.Event = field(default_factory=asyncio.Event)
    waiting: int = 0  # who waits for it: it is not closed under them before it is complete

    @property
    def is_complete(self) -> bool:
        """Whether nothing better is to be waited for."""
        return self.refused or (self.sides.get("bid") is not None and self.sides.get("ask") is not None)

    @property
    def lacks_line(self) -> bool:
        """Whether it waits until the login may follow another quote."""
        return not self.has_line and not self.is_complete

    @property
    def is_fresh(self) -> bool:
        """Whether it can be used again by the next who asks."""
        if self.as_of is None or self.refused or not self.is_complete:
            return False
        return (datetime.now(UTC) - self.as_of).total_seconds() < FRESH_SECONDS

    def adopt(self, price: ContractPrice) -> None:
        """Takes what another client of the login has heard a moment ago."""
        self.sides = {"bid": price.bid, "ask": price.ask, "last": price.last, "close": price.close}
        self.kind, self.as_of, self.words, self.words_of_line = price.kind, price.as_of, price.message, ""
        self.heard.set()

    def middle(self) -> Decimal | None:
        """Between bid and ask, if both have come."""
        bid, ask = self.sides.get("bid"), self.sides.get("ask")
        return (bid + ask) / 2 if bid is not None and ask is not None else None

    def price(self) -> ContractPrice | None:
        """The quote, with the broker's words where it has no sides; None when nothing came at all."""
        words = self.words or self.words_of_line
        if self.as_of is None and not words:
            return None
        bid = self.sides.get("bid")
        return ContractPrice(
            symbol=self.facts.symbol,
            bid=bid,
            ask=self.sides.get("ask"),
            last=self.sides.get("last"),
            close=self.sides.get("close"),
            as_of=self.as_of or datetime.now(UTC),
            kind=self.kind,
            tick_usd=mapping.tick_at(self.facts.tick_steps, bid or Decimal(0)),
            message=words,
        )


class Quotes:
    """The streams of a link. Everybody who asks for a symbol shares its stream."""

    def __init__(self, settings: ConnectionSettings, of_others: PriceCache) -> None:
        self._settings = settings
        self._of_others = of_others
        self._streams: dict[int, Stream] = {}
        self._of_symbol: dict[str, int] = {}
        self._data_type = 1
        self._middles: dict[str, Decimal] = {}
        self._letting_go: asyncio.TimerHandle | None = None
        self._again = 0
        self._again_since = float("-inf")

    # ---- asking

    async def fetch(self, link: GatewayConnection, contracts: Mapping[str, ContractFacts]) -> dict[str, ContractPrice]:
        """The quotes of the contracts, as far as they come before the deadline.

        Raises:
            MarketDataUnavailable: the broker refuses to quote any of them, in its words.
        """
        await link.until_joined()
        self._set_data_type(link)
        asked: dict[str, Stream] = {}
        try:
            for symbol, facts in contracts.items():
                asked[symbol] = stream = self._stream(link, facts)
                stream.waiting += 1
            await self._until_complete(link, list(asked.values()))
        except TimeoutError:
            missing = [symbol for symbol, stream in asked.items() if not stream.is_complete]
            logger.warning("No whole quote in time for %s", ", ".join(missing))
        finally:
            for stream in asked.values():
                stream.waiting -= 1
            self._let_go_later(link, FRESH_SECONDS)
        _ = link.wire  # raises when the link broke
        refused = [stream for stream in asked.values() if stream.refused]
        if asked and len(refused) == len(asked):
            raise MarketDataUnavailable("; ".join(sorted({stream.words for stream in refused})))
        for stream in refused:
            logger.warning("No quote for %s: %s", stream.facts.symbol, stream.words)
        found = {symbol: stream.price() for symbol, stream in asked.items()}
        return {symbol: price for symbol, price in found.items() if price is not None}

    def middle(self, symbol: str) -> Decimal | None:
        """Between bid and ask of the last that came; for marks of positions, not for orders."""
        stream = self._streams.get(self._of_symbol.get(symbol, 0))
        return (stream.middle() if stream else None) or self._middles.get(symbol)

    def forget(self) -> None:
        """Subscriptions are gone (1101): who waits for one, and the next who asks, opens it anew."""
        for stream in self._streams.values():
            stream.has_line = False
        self._streams.clear()
        self._of_symbol.clear()

    async def _until_complete(self, link: GatewayConnection, streams: list[Stream]) -> None:
        async with asyncio.timeout(self._seconds_for(streams)) as deadline:
            looking = asyncio.create_task(self._look_again(link, streams, deadline), name="market data lines")
            try:
                for stream in streams:
                    while not stream.is_complete and link.is_up:
                        stream.heard.clear()
                        await _first(stream.heard, link.ended)
            finally:
                looking.cancel()
                (trouble,) = await asyncio.gather(looking, return_exceptions=True)
                if isinstance(trouble, Exception):  # they are done without; a broken link is told of below
                    logger.warning("Market data lines were not looked for to the end: %r", trouble)

    def _seconds_for(self, streams: list[Stream]) -> float:
        """The deadline; later where there is more to ask for, and to let go for it, than the pace allows until then."""
        return max(self._settings.quote_timeout_seconds, 2 * len(streams) / MESSAGES_PER_SECOND)

    async def _look_again(self, link: GatewayConnection, streams: list[Stream], deadline: asyncio.Timeout) -> None:
        """Looks for what has no line until it has a quote or a line; with one it has as long as the others had."""
        loop = asyncio.get_running_loop()
        last = loop.time() + max(MOST_FOR_LINES_SECONDS, self._seconds_for(streams))
        while True:
            await asyncio.sleep(LINE_AGAIN_SECONDS)  # nobody tells when another client lets one go
            if not (lacking := [stream for stream in streams if stream.lacks_line]):
                continue
            await self._adopt(lacking)
            for stream in lacking:
                # Else somebody else who waits for it was first, or others are before it.
                if stream.lacks_line and self._may_ask_again(loop.time()):
                    self._remove(self._of_symbol.get(stream.facts.symbol), stream)
                    self._ask(link, stream)
            deadline.reschedule(min(loop.time() + self._seconds_for(streams), last))

    def _may_ask_again(self, now: float) -> bool:
        if now - self._again_since >= LINE_AGAIN_SECONDS:
            self._again_since, self._again = now, 0
        self._again += 1
        return self._again <= MOST_AGAIN

    async def _adopt(self, lacking: list[Stream]) -> None:
        """Accounts of one login want much the same symbols: what another client's line says is as good as our own."""
        by_symbol = {stream.facts.symbol: stream for stream in lacking}
        now = datetime.now(UTC)
        for symbol, price in (await self._of_others.get(list(by_symbol))).items():
            is_as_good = price.kind is PriceKind.LIVE or self._settings.allow_delayed_quotes
            if is_as_good and price.is_two_sided and (now - price.as_of).total_seconds() < FRESH_SECONDS:
                by_symbol[symbol].adopt(price)

    def _set_data_type(self, link: GatewayConnection) -> None:
        wanted = self._settings.market_data_type
        if wanted == 1 and self._settings.allow_delayed_quotes:
            wanted = DELAYED_IF_NOT_LIVE
        if wanted != self._data_type:
            link.wire.client.reqMarketDataType(wanted)
            self._data_type = wanted

    def _stream(self, link: GatewayConnection, facts: ContractFacts) -> Stream:
        number = self._of_symbol.get(facts.symbol)
        if number is not None:
            if self._streams[number].waiting or self._streams[number].is_fresh:
                return self._streams[number]
            self._close(link, number)
        stream = Stream(facts)
        self._ask(link, stream)
        return stream

    def _ask(self, link: GatewayConnection, stream: Stream) -> None:
        """Asks for the stream under a number of its own, if this client may follow one more."""
        client = link.wire.client
        stream.has_line = self._has_room(link)
        if not stream.has_line:
            stream.words_of_line = f"More than {MOST_LINES} symbols are asked for at once."
        number = client.getReqId()
        self._streams[number] = stream
        self._of_symbol[stream.facts.symbol] = number
        if stream.has_line:
            client.reqMktData(number, to_wire(stream.facts), "", False, False, [])

    def _has_room(self, link: GatewayConnection) -> bool:
        """Whether there is a line for one more; the oldest that nobody needs any more is let go for it."""
        following = {number: stream for number, stream in self._streams.items() if stream.has_line}
        if len(following) < MOST_LINES:
            return True
        unneeded = (number for number, stream in following.items() if stream.is_complete or not stream.waiting)
        if (number := next(unneeded, None)) is None:
            return False
        self._close(link, number)
        return True

    def _close(self, link: GatewayConnection, number: int) -> None:
        stream = self._streams[number]
        self._remove(number, stream)
        if (middle := stream.middle()) is not None:
            self._middles[stream.facts.symbol] = middle
        if stream.has_line and not stream.refused:
            link.wire.client.cancelMktData(number)

    def _remove(self, number: int | None, stream: Stream) -> None:
        """Takes the stream out, if it has this number: its symbol may have another stream by now."""
        if number is None or self._streams.get(number) is not stream:
            return
        del self._streams[number]
        if self._of_symbol.get(stream.facts.symbol) == number:
            del self._of_symbol[stream.facts.symbol]

    def _let_go_later(self, link: GatewayConnection, seconds: float) -> None:
        if self._letting_go is not None:
            self._letting_go.cancel()
        self._letting_go = asyncio.get_running_loop().call_later(seconds, self._let_go, link)

    def _let_go(self, link: GatewayConnection) -> None:
        if not link.is_up:
            return
        unused = [number for number, stream in self._streams.items() if not stream.waiting]
        for number in unused[:MOST_LET_GO]:
            self._close(link, number)
        if len(unused) > MOST_LET_GO:
            self._let_go_later(link, LET_GO_AGAIN_SECONDS)

    # ---- hearing

    def on_price(self, request_id: int, tick_type: int, price: float) -> None:
        """One side of a quote; -1 and NaN are no prices."""
        stream = self._streams.get(request_id)
        side = SIDES.get(tick_type)
        if stream is None or side is None:
            return
        stream.words_of_line = ""
        stream.sides[side] = mapping.price(price)
        stream.as_of = datetime.now(UTC)
        if tick_type in DELAYED_TICKS:
            stream.kind = PriceKind.DELAYED
        stream.heard.set()

    def on_data_type(self, request_id: int, data_type: int) -> None:
        """Whether what follows is live, frozen or delayed."""
        if request_id in self._streams:
            self._streams[request_id].kind = mapping.price_kind(data_type)

    def on_error(self, request_id: int, code: int, words: str) -> None:
        """What the broker says about a stream: 10167 means delayed quotes, most others that there are none."""
        stream = self._streams.get(request_id)
        if stream is None or effect_of(code) is Effect.NOTICE:
            return
        if code == NO_LINE:
            stream.has_line, stream.words_of_line = False, error_text(code, words)
        else:
            stream.words = error_text(code, words)
            stream.refused = code not in mapping.DELAYED_FOLLOWS
        stream.heard.set()


async def _first(*events: asyncio.Event) -> None:
    """Waits for any of the events."""
    waiting = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
