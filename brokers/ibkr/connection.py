"""The connection to a gateway. Opening and every request have a deadline and named errors."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import nullcontext, suppress
from typing import Any, TypeVar

from ib_async.wrapper import RequestError

from brokers.broker_types import ConnectionSettings
from brokers.exceptions import (
    AccountNotManaged,
    BrokerAPIError,
    BrokerConnectionError,
    BrokerSilent,
    BrokerUnreachable,
    ClientIdInUse,
    WrongEnvironment,
)
from brokers.ibkr.errors import CODES, error_text
from brokers.ibkr.ib_client import IBClient, TickListener
from brokers.ibkr.limits import Limits
from brokers.ibkr.mapping import is_paper_account
from brokers.ibkr.order_tracker import OrderTracker
from brokers.ibkr.settings import GatewaySettings

T = TypeVar("T")

logger = logging.getLogger("rebalancer.brokers")

CLIENT_ID_IN_USE = 326
BROKER_LOST = frozenset({1100, 2110})
"""The gateway lost the broker. A client that connects meanwhile receives the second code."""
BROKER_RESTORED_WITHOUT_QUOTES, BROKER_RESTORED = 1101, 1102


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
        self._refusal: asyncio.Future[BrokerConnectionError] | None = None
        self._locks: dict[str, asyncio.Lock] = {}
        self._broker_up = asyncio.Event()
        self._queue_empty = asyncio.Event()
        self._initial_download: asyncio.Task[Any] | None = None
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
        self._initial_download = asyncio.create_task(self._download(), name="positions and open orders")
        self._initial_download.add_done_callback(self._on_download_end)

    async def _download(self) -> None:
        """Subscribe to positions and to our own orders."""
        await asyncio.gather(
            self.request("positions", lambda ib: ib.reqPositionsAsync()),
            self.request("our open orders", lambda ib: ib.reqOpenOrdersAsync(), lock="open orders"),
        )

    def _on_download_end(self, download: asyncio.Task[Any]) -> None:
        """Give up the connection if the download failed: it cannot be used, and a new one may work."""
        if not download.cancelled() and isinstance(error := download.exception(), BrokerConnectionError):
            self._fail(error)

    async def until_downloaded(self) -> None:
        """Wait until the gateway has sent all positions and our open orders. Nothing is traded before.

        Raises:
            BrokerSilent: The gateway did not send them in time.
        """
        if self._initial_download is not None:
            await asyncio.shield(self._initial_download)
        _ = self.ib

    async def _open_once(self, ticks: TickListener, seconds: float) -> None:
        ib = IBClient(self._order_tracker, ticks, self._gateway.time_zone)
        refusal: asyncio.Future[BrokerConnectionError] = asyncio.get_running_loop().create_future()
        self._refusal = refusal
        self._broker_up.set()
        self._queue_empty.set()
        ib.errorEvent += self._on_gateway_error
        ib.disconnectedEvent += self._on_disconnected
        ib.client.conn.disconnected += self._on_socket_closed
        ib.client.throttleStart += self._queue_empty.clear
        ib.client.throttleEnd += self._queue_empty.set
        connecting = asyncio.create_task(self._connect(ib, seconds))
        # The library notices a refusal only at the end of its timeout.
        refusal.add_done_callback(lambda _: connecting.cancel())
        try:
            await connecting
            self._check_environment(ib)
        except BaseException as error:
            await self._close_socket(ib)
            task = asyncio.current_task()
            is_cancelled = task is not None and task.cancelling()  # closing the socket then looks like a refusal
            if isinstance(error, asyncio.CancelledError) and refusal.done() and not is_cancelled:
                raise refusal.result() from None
            raise
        self._ib = ib

    async def _connect(self, ib: IBClient, seconds: float) -> None:
        host, port, client_id = self._gateway.host, self._gateway.port, self._settings.client_id
        try:
            # The library limits the time of each step, but not their sum.
            async with asyncio.timeout(seconds):
                # IB.connectAsync would wait for positions here. They are requested later, beside other requests.
                ib.wrapper.clientId = client_id
                await ib.client.connectAsync(host, port, client_id, seconds)
        except TimeoutError as error:
            raise BrokerSilent(
                f"The gateway at {self._address} accepted the connection but did not respond within {seconds:.0f} s. "
                "Check that it is logged in."
            ) from error
        except OSError as error:
            raise BrokerUnreachable(f"No gateway responds at {self._address} ({error}). {CODES[502].action}") from error

    @property
    def _address(self) -> str:
        return f"{self._gateway.host}:{self._gateway.port}"

    def _check_environment(self, ib: IBClient) -> None:
        """Refuse paper accounts in a live configuration, and the reverse: the port is wrong."""
        environment = self._settings.environment
        wrong = [account for account in ib.managedAccounts() if is_paper_account(account) != (environment == "paper")]
        if wrong:
            raise WrongEnvironment(
                f"The gateway at {self._address} manages {', '.join(wrong)}, which is not a {environment} account. Set "
                f"IB_PORT to the port of the {environment} gateway, or change TRADING_MODE."
            )

    async def close(self) -> None:
        """Close the connection. A caller that submitted orders waits for their acknowledgement first."""
        ib, self._ib = self._ib, None
        if self._initial_download is not None:
            self._initial_download.cancel()
        if ib is not None:
            self._fail(BrokerConnectionError("The connection to the gateway is closed."))
            await self._close_socket(ib)

    async def _close_socket(self, ib: IBClient) -> None:
        connection = ib.client.conn
        transport = connection.transport
        ib.client.disconnect()
        if transport is None or connection.transport is None:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(self._limits.close_seconds):
                await connection.disconnected
                return
        transport.abort()

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
        if account_id not in managed or account_id not in self._settings.account_ids:
            raise AccountNotManaged(
                f"The gateway's login does not manage account {account_id} for this connection. It manages "
                f"{', '.join(managed) or 'none'}. Log in with the account's user, or correct the account number."
            )

    async def request(self, what: str, send: Callable[[IBClient], Awaitable[T]], *, lock: str = "") -> T:
        """Send a request and wait for the response until the deadline. After a timeout the connection has failed.

        Args:
            what: Noun phrase for error messages.
            send: Sends the request, and returns the awaitable response.
            lock: Kind of request. The library has one future for each kind, so requests of one kind are sequential.

        Raises:
            BrokerSilent: The gateway did not respond in time, or lost its own connection to the broker.
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
                silent = BrokerSilent(f"The gateway did not respond within {seconds:g} s to a request for {what}.")
                self._fail(silent)
                raise silent from error
            except RequestError as error:
                raise BrokerAPIError(error_text(error.code, error.message)) from error
            except ConnectionError as error:
                raise BrokerConnectionError(f"The connection was lost during a request for {what}.") from error

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
        if code == CLIENT_ID_IN_USE:
            client_id = self._settings.client_id
            self._refuse(ClientIdInUse(f"Client id {client_id} is in use at the gateway. {CODES[code].action}"))
        elif code in BROKER_LOST:
            self._broker_up.clear()
            logger.warning("%s", error_text(code, message))
        elif code in {BROKER_RESTORED, BROKER_RESTORED_WITHOUT_QUOTES}:
            self._broker_up.set()
            logger.warning("%s", error_text(code, message))
        self._on_error(request_id, code, message)

    def _on_socket_closed(self, message: str) -> None:
        self._refuse(
            BrokerUnreachable(
                f"The gateway at {self._address} closed the connection at once ({message or 'without a message'}). "
                "Check that its API is enabled for this host."
            )
        )

    def _refuse(self, error: BrokerConnectionError) -> None:
        if self._refusal is not None and not self._refusal.done():
            self._refusal.set_result(error)

    def _on_disconnected(self) -> None:
        self._fail(BrokerConnectionError("The connection to the gateway was lost."))

    def _fail(self, error: BrokerConnectionError) -> None:
        if self.failure is None and self._ib is not None:
            self.failure = error
            logger.warning("%s", error.message)
        self.ended.set()
        self._broker_up.set()
        self._queue_empty.set()
        self._order_tracker.wake_all()
