"""The connection to a gateway. Opening and every request have a deadline and named errors."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from typing import Any, TypeVar

from ib_async import ExecutionFilter
from ib_async.wrapper import RequestError

from brokers.broker_types import ConnectionSettings
from brokers.exceptions import (
    AccountNotManaged,
    BrokerAPIError,
    BrokerConnectionError,
    BrokerSilent,
    ClientIdInUse,
    ExecutionsUnavailable,
    ReadOnlyApi,
)
from brokers.ibkr.errors import CODES, Effect, effect_of, error_text, is_read_only
from brokers.ibkr.ib_client import IBClient, TickListener
from brokers.ibkr.limits import Limits
from brokers.ibkr.opening import Opening, close_socket
from brokers.ibkr.order_tracker import OrderTracker
from brokers.ibkr.settings import GatewaySettings

T = TypeVar("T")

logger = logging.getLogger("rebalancer.brokers")


EXECUTIONS_PAUSE_SECONDS = 60.0
"""Time without a request after the gateway did not send executions: the accounts of a slot would wait in turn."""


class GatewayConnection:
    """One connection with the slot's client id. It is opened once; a lost connection is replaced by a new object."""

    def __init__(
        self,
        settings: ConnectionSettings,
        gateway: GatewaySettings,
        limits: Limits,
        order_tracker: OrderTracker,
        on_error: Callable[[int, int, str], None],
    ) -> None:
        self._settings = settings
        self._gateway = gateway
        self._limits = limits
        self._order_tracker = order_tracker
        self._on_error = on_error
        self._ib: IBClient | None = None
        self._locks: dict[str, asyncio.Lock] = {}
        self._broker_up = asyncio.Event()
        self._queue_empty = asyncio.Event()
        self._positions_download: asyncio.Task[Any] | None = None
        self._orders_download: asyncio.Task[Any] | None = None
        self._last_message = ""
        self._executions_silent_until = 0.0
        self.served = settings.account_ids
        self.failure: BrokerConnectionError | None = None
        self.ended = asyncio.Event()

    # ---- opening and closing

    async def open(self, ticks: TickListener) -> None:
        """Connect, and retry until the deadline while the gateway holds the client id of a lost connection.

        Raises:
            BrokerConnectionError: The subclass names the reason.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._settings.connection_timeout_seconds
        pause = self._limits.connect_retry_seconds
        while True:
            try:
                await self._open_once(ticks, deadline - loop.time())
            except ClientIdInUse:
                if loop.time() + pause >= deadline:
                    raise
                await asyncio.sleep(pause)
                pause *= 2
            else:
                break
        self._positions_download = self._download("positions", lambda ib: ib.reqPositionsAsync())
        self._orders_download = self._download("our open orders", lambda ib: ib.reqOpenOrdersAsync(), "open orders")

    def _download(self, what: str, send: Callable[[IBClient], Awaitable[Any]], lock: str = "") -> asyncio.Task[Any]:
        """Subscribe to positions, or to our own orders."""
        download = asyncio.create_task(self.request(what, send, lock=lock), name=what)
        download.add_done_callback(self._on_download_end)
        return download

    def _on_download_end(self, download: asyncio.Task[Any]) -> None:
        """Give up the connection if the download failed: it cannot be used, and a new one may work."""
        if not download.cancelled() and isinstance(error := download.exception(), BrokerConnectionError):
            self._fail(error)

    async def until_downloaded(self) -> None:
        """Wait until the gateway has sent all positions.

        Raises:
            BrokerSilent: The gateway did not send them in time.
        """
        if self._positions_download is not None:
            await asyncio.shield(self._positions_download)
        _ = self.ib

    async def until_orders_downloaded(self) -> None:
        """Wait until the gateway has sent all positions and our open orders. Nothing is traded before.

        Raises:
            BrokerSilent: The gateway did not send them in time.
            ReadOnlyApi: The gateway sends no orders and accepts none.
        """
        if self._orders_download is not None:
            await asyncio.shield(self._orders_download)
        await self.until_downloaded()

    async def _open_once(self, ticks: TickListener, seconds: float) -> None:
        ib = IBClient(self._order_tracker, ticks, self._gateway.time_zone)
        self._broker_up.set()
        self._queue_empty.set()
        ib.errorEvent += self._on_gateway_error
        ib.disconnectedEvent += self._on_disconnected
        ib.client.throttleStart += self._queue_empty.clear
        ib.client.throttleEnd += self._queue_empty.set
        await Opening(ib, self._settings, self._gateway).run(seconds, self._limits.close_seconds)
        self._ib = ib

    async def close(self) -> None:
        """Close the connection. A caller that submitted orders waits for their acknowledgement first."""
        ib, self._ib = self._ib, None
        for download in (self._positions_download, self._orders_download):
            if download is not None:
                download.cancel()
        if ib is not None:
            self._fail(BrokerConnectionError("The connection to the gateway is closed."))
            await close_socket(ib, self._limits.close_seconds)

    # ---- requests

    @property
    def ib(self) -> IBClient:
        """The connected client of the library.

        Raises:
            BrokerConnectionError: There is no connection.
        """
        if self.failure is not None:
            raise type(self.failure)(self.failure.message)
        if self._ib is None:
            raise BrokerConnectionError("There is no connection to the gateway.")
        return self._ib

    @property
    def is_up(self) -> bool:
        """Whether the socket is open and every request was answered in time."""
        return self.failure is None and self._ib is not None and bool(self._ib.isConnected())

    def check_managed(self, account_id: str) -> None:
        """Refuse an account that is not in the slot, or that the login does not manage.

        Raises:
            AccountNotManaged: The message lists the accounts that the login manages.
        """
        managed = self.ib.managedAccounts()
        if account_id not in managed or account_id not in self.served:
            raise AccountNotManaged(
                f"The gateway's login does not manage account {account_id} for this connection. It manages "
                f"{', '.join(managed) or 'none'}. Log in with the account's user, or correct the account number."
            )

    async def request(
        self,
        what: str,
        send: Callable[[IBClient], Awaitable[T]],
        *,
        lock: str = "",
        if_silent: type[BrokerAPIError] | None = None,
    ) -> T:
        """Send a request and wait for the response until the deadline. After a timeout the connection has failed.

        Args:
            what: Noun phrase for error messages.
            send: Sends the request, and returns the awaitable response.
            lock: Kind of request. The library has one future for each kind, so requests of one kind are sequential.
            if_silent: Error of a request that some gateways never answer. It does not fail the connection.

        Raises:
            BrokerSilent: The gateway did not respond in time, or lost its own connection to the broker.
            ReadOnlyApi: The gateway refused the request because its API is read-only.
            BrokerAPIError: The gateway refused the request; the message is the broker's.
        """
        await self.until_broker_up()
        seconds = self._settings.request_timeout_seconds
        async with self._locks.setdefault(lock, asyncio.Lock()) if lock else nullcontext():
            ib = self.ib
            try:
                async with asyncio.timeout(seconds):
                    return await send(ib)
            except TimeoutError as error:
                message = (
                    f"The gateway did not respond within {seconds:g} s to a request for {what}.{self._last_message}"
                )
                if if_silent is not None:
                    raise if_silent(f"{message} If it happens again, restart the gateway.") from error
                silent = BrokerSilent(message)
                self._fail(silent)
                raise silent from error
            except RequestError as error:
                kind = ReadOnlyApi if is_read_only(error.code, error.message) else BrokerAPIError
                raise kind(error_text(error.code, error.message)) from error
            except ConnectionError as error:
                raise BrokerConnectionError(f"The connection was lost during a request for {what}.") from error

    async def request_executions(self, account_id: str = "") -> None:
        """Request today's executions of one account, or of all. Each is processed when it arrives.

        Raises:
            ExecutionsUnavailable: The gateway did not report their end, as some never do until they are restarted.
        """
        only, kind, loop = ExecutionFilter(acctCode=account_id), "executions", asyncio.get_running_loop()

        async def send(ib: IBClient) -> None:
            if loop.time() < self._executions_silent_until:  # the next caller does not wait too
                raise ExecutionsUnavailable("The gateway does not send executions. Restart it if this happens again.")
            await ib.reqExecutionsAsync(only)

        try:
            await self.request(kind, send, lock=kind, if_silent=ExecutionsUnavailable)
        except ExecutionsUnavailable:
            silent_until = loop.time() + EXECUTIONS_PAUSE_SECONDS
            self._executions_silent_until = max(self._executions_silent_until, silent_until)
            raise

    async def until_broker_up(self) -> None:
        """Wait while the gateway is disconnected from the broker (1100): its responses then prove nothing.

        Raises:
            BrokerSilent: The gateway did not reconnect within the request deadline.
        """
        if self._broker_up.is_set():
            return
        try:
            async with asyncio.timeout(self._settings.request_timeout_seconds):
                await self._broker_up.wait()
        except TimeoutError as error:
            raise BrokerSilent(f"IBKR 1100: {CODES[1100].description} {CODES[1100].action}") from error
        if self.failure is not None:
            raise self.failure

    async def until_queue_empty(self) -> None:
        """Wait until a message would be sent at once: a message in the library's queue can be lost.

        Raises:
            BrokerConnectionError: The connection was lost, or the queue did not empty in time. Nothing was sent.
        """
        try:
            async with asyncio.timeout(self._settings.request_timeout_seconds):
                while not self._queue_empty.is_set():
                    await self._queue_empty.wait()
        except TimeoutError:
            raise BrokerSilent("The queue of messages to the gateway did not empty in time.") from None
        await self.until_broker_up()
        _ = self.ib

    async def until_turn(self) -> None:
        """Wait until an order would be sent at once, with room for the messages of other requests.

        Raises:
            BrokerConnectionError: The connection was lost, or there was no turn in time. Nothing was sent.
        """
        await self.until_downloaded()
        # The rate is counted over one interval, which may be as long as the deadline of a request.
        seconds_left = self._settings.request_timeout_seconds + self.ib.client.RequestsInterval
        try:
            async with asyncio.timeout(seconds_left):
                await self.until_queue_empty()
                while seconds := self.ib.seconds_until_turn():
                    await asyncio.sleep(seconds)
                    await self.until_queue_empty()
        except TimeoutError:
            raise BrokerSilent("The message rate of the gateway left no room for an order in time.") from None

    # ---- events of the library

    def _on_gateway_error(self, request_id: int, code: int, message: str, _contract: Any) -> None:
        effect, text = effect_of(code), error_text(code, message)
        if effect is Effect.BROKER_LOST:
            self._broker_up.clear()
            logger.warning("%s", text)
        elif effect in {Effect.BROKER_RESTORED, Effect.QUOTES_LOST}:
            self._broker_up.set()
            logger.warning("%s", text)
        elif effect in {Effect.CONNECTION, Effect.ACCOUNT_DATA}:
            self._last_message = f" The gateway's last message: {text}"
        self._on_error(request_id, code, message)

    def _on_disconnected(self) -> None:
        self._fail(BrokerConnectionError(f"The connection to the gateway was lost.{self._last_message}"))

    def _fail(self, error: BrokerConnectionError) -> None:
        if self.failure is None and self._ib is not None:
            self.failure = error
            logger.warning("%s", error.message)
        self.ended.set()
        self._broker_up.set()
        self._queue_empty.set()
        self._order_tracker.wake_all()
