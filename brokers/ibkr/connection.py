"""The connection itself: opened with deadlines and named errors, asked with deadlines, known to be up or not."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
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
from brokers.ibkr.mapping import is_paper_account
from brokers.ibkr.order_tracker import OrderTracker

T = TypeVar("T")

logger = logging.getLogger("rebalancer.brokers")

CLIENT_ID_TAKEN = 326
BROKER_LOST = frozenset({1100, 2110})
"""The second is what a client hears that connects while the gateway is cut off."""
BROKER_BACK_WITHOUT_QUOTES, BROKER_BACK = 1101, 1102
BACK_OFF_SECONDS = 0.5
CLOSE_SECONDS = 2.0


class GatewayConnection:
    """One link with the slot's client id. It is opened once; what broke is replaced by a new one."""

    def __init__(
        self,
        settings: ConnectionSettings,
        ledger: OrderTracker,
        ticks: TickListener,
        on_error: Callable[[int, int, str], None],
    ) -> None:
        self._settings = settings
        self._ledger = ledger
        self._ticks = ticks
        self._on_error = on_error
        self._wire: IBClient | None = None
        self._refusal: asyncio.Future[BrokerConnectionError] | None = None
        self._locks: dict[str, asyncio.Lock] = {}
        self._joined = asyncio.Event()
        self._clear = asyncio.Event()
        self._confirming: asyncio.Task[Any] | None = None
        self.broken: BrokerConnectionError | None = None
        self.ended = asyncio.Event()

    # ---- open and closed

    async def open(self) -> None:
        """Connects; an id that is still held after a drop is tried again, the same one, until the deadline.

        Raises:
            BrokerConnectionError: by name: unreachable, silent, id taken, wrong environment.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._settings.connection_timeout_seconds
        pause = BACK_OFF_SECONDS
        while True:
            try:
                await self._open_once(deadline - loop.time())
            except ClientIdInUse:
                if loop.time() + pause >= deadline:
                    raise
                await asyncio.sleep(pause)
                pause *= 2
            else:
                break
        self._confirming = asyncio.create_task(self._confirm(), name="positions and open orders")
        self._confirming.add_done_callback(self._on_confirmation)

    async def _confirm(self) -> None:
        """Follows positions and our own orders from now on."""
        await asyncio.gather(
            self.ask("positions", lambda wire: wire.reqPositionsAsync()),
            self.ask("our open orders", lambda wire: wire.reqOpenOrdersAsync(), lock="open orders"),
        )

    def _on_confirmation(self, confirming: asyncio.Task[Any]) -> None:
        """A link without it is of no use, and another one may do better."""
        if not confirming.cancelled() and isinstance(trouble := confirming.exception(), BrokerConnectionError):
            self._break(trouble)

    async def until_confirmed(self) -> None:
        """Waits until the gateway has told all positions and our open orders once; nothing is traded before.

        Raises:
            BrokerSilent: it has not.
        """
        if self._confirming is not None:
            await asyncio.shield(self._confirming)
        _ = self.wire

    async def _open_once(self, seconds: float) -> None:
        wire = IBClient(self._ledger, self._ticks)
        refusal: asyncio.Future[BrokerConnectionError] = asyncio.get_running_loop().create_future()
        self._refusal = refusal
        self._joined.set()
        self._clear.set()
        wire.errorEvent += self._on_gateway_error
        wire.disconnectedEvent += self._on_end
        wire.client.conn.disconnected += self._on_disconnect
        wire.client.throttleStart += self._clear.clear
        wire.client.throttleEnd += self._clear.set
        connecting = asyncio.create_task(self._connect(wire, seconds))
        # The library does not notice a refusal until its whole timeout is over.
        refusal.add_done_callback(lambda _: connecting.cancel())
        try:
            await connecting
            self._check_environment(wire)
        except BaseException as error:
            await _hang_up(wire)
            task = asyncio.current_task()
            is_told_to_stop = task is not None and task.cancelling()  # then hanging up looks like a refusal
            if isinstance(error, asyncio.CancelledError) and refusal.done() and not is_told_to_stop:
                raise refusal.result() from None
            raise
        self._wire = wire

    async def _connect(self, wire: IBClient, seconds: float) -> None:
        where = f"{self._settings.host}:{self._settings.port}"
        try:
            # The library bounds each of its steps, not their sum.
            async with asyncio.timeout(seconds):
                # The library's own way would wait for positions here; they are asked for beside the first questions.
                wire.wrapper.clientId = self._settings.client_id
                await wire.client.connectAsync(
                    self._settings.host, self._settings.port, self._settings.client_id, seconds
                )
        except TimeoutError as error:
            raise BrokerSilent(
                f"The gateway at {where} took the connection and did not answer within {seconds:.0f} s. Look whether "
                "it is logged in."
            ) from error
        except OSError as error:
            raise BrokerUnreachable(f"No gateway answers at {where} ({error}). {CODES[502].what_to_do}") from error

    def _check_environment(self, wire: IBClient) -> None:
        """Paper accounts behind a live configuration, or the reverse: the port is the wrong one."""
        wants_paper = self._settings.environment == "paper"
        wrong = [account for account in wire.managedAccounts() if is_paper_account(account) != wants_paper]
        if wrong:
            raise WrongEnvironment(
                f"The gateway at {self._settings.host}:{self._settings.port} manages {', '.join(wrong)}, which is no "
                f"{self._settings.environment} account. Set IB_PORT to the {self._settings.environment} gateway, or "
                "TRADING_MODE to what the gateway is."
            )

    async def close(self) -> None:
        """Hangs up. Who has sent orders waits for their acknowledgement first."""
        wire, self._wire = self._wire, None
        if self._confirming is not None:
            self._confirming.cancel()
        if wire is not None:
            self._break(BrokerConnectionError("The connection to the gateway is closed."))
            await _hang_up(wire)

    # ---- asking

    @property
    def wire(self) -> IBClient:
        """The library's connection.

        Raises:
            BrokerConnectionError: there is none any more.
        """
        if self.broken is not None:
            raise type(self.broken)(self.broken.message)
        if self._wire is None:
            raise BrokerConnectionError("There is no connection to the gateway.")
        return self._wire

    @property
    def is_up(self) -> bool:
        """Whether the socket is open and has not been found silent."""
        return self.broken is None and self._wire is not None and bool(self._wire.isConnected())

    def check_managed(self, account_id: str) -> None:
        """Refuses accounts that are not the slot's, or that the login does not manage.

        Raises:
            AccountNotManaged: with the accounts that it does manage.
        """
        managed = self.wire.managedAccounts()
        if account_id not in managed or account_id not in self._settings.account_ids:
            raise AccountNotManaged(
                f"The gateway's login does not manage account {account_id} for this connection; it manages "
                f"{', '.join(managed) or 'none'}. Log in with its user, or correct the account's number."
            )

    async def ask(self, what: str, question: Callable[[IBClient], Awaitable[T]], *, lock: str = "") -> T:
        """Asks the gateway, with a deadline. One without an answer is silent: the link counts as broken.

        Args:
            what: the question in words, for errors.
            question: sends it, and returns what to await.
            lock: questions of one kind share one future in the library, so they wait for each other.

        Raises:
            BrokerSilent: no answer in time, or the gateway itself is cut off from the broker.
            BrokerAPIError: the gateway's refusal, in its words.
        """
        await self.until_joined()
        if not lock:
            return await self._ask(what, question)
        async with self._locks.setdefault(lock, asyncio.Lock()):
            return await self._ask(what, question)

    async def _ask(self, what: str, question: Callable[[IBClient], Awaitable[T]]) -> T:
        wire = self.wire
        seconds = self._settings.request_timeout_seconds
        try:
            async with asyncio.timeout(seconds):
                return await question(wire)
        except TimeoutError as error:
            silent = BrokerSilent(f"The gateway did not answer within {seconds:g} s when asked for {what}.")
            self._break(silent)
            raise silent from error
        except RequestError as error:
            raise BrokerAPIError(error_text(error.code, error.message)) from error
        except ConnectionError as error:
            raise BrokerConnectionError(f"The connection broke when the gateway was asked for {what}.") from error

    async def until_joined(self) -> None:
        """Waits while the gateway is cut off from the broker (1100), for what it says then proves nothing.

        Raises:
            BrokerSilent: it stays so.
        """
        if self._joined.is_set():
            return
        try:
            async with asyncio.timeout(self._settings.request_timeout_seconds):
                await self._joined.wait()
        except TimeoutError as error:
            raise BrokerSilent(f"IBKR 1100: {CODES[1100].sentence} {CODES[1100].what_to_do}") from error
        if self.broken is not None:
            raise self.broken

    async def until_clear(self) -> None:
        """Waits until a message would go out at once: one that waits in the library's queue can be lost.

        Raises:
            BrokerConnectionError: the link broke meanwhile, or stays busy beyond the deadline; nothing was sent.
        """
        try:
            async with asyncio.timeout(self._settings.request_timeout_seconds):
                while not self._clear.is_set():
                    await self._clear.wait()
        except TimeoutError:
            raise BrokerSilent("The gateway takes no more messages: its queue does not empty.") from None
        await self.until_joined()
        _ = self.wire

    # ---- what happens to it

    def _on_gateway_error(self, request_id: int, code: int, words: str, _contract: Any) -> None:
        if code == CLIENT_ID_TAKEN:
            self._refuse(
                ClientIdInUse(f"Client id {self._settings.client_id} is taken at the gateway. {CODES[code].what_to_do}")
            )
        elif code in BROKER_LOST:
            self._joined.clear()
            logger.warning("%s", error_text(code, words))
        elif code in {BROKER_BACK, BROKER_BACK_WITHOUT_QUOTES}:
            self._joined.set()
            logger.warning("%s", error_text(code, words))
        self._on_error(request_id, code, words)

    def _on_disconnect(self, words: str) -> None:
        self._refuse(
            BrokerUnreachable(
                f"The gateway at {self._settings.host}:{self._settings.port} closed the connection at once "
                f"({words or 'without a word'}). Look whether its API is enabled for this host."
            )
        )

    def _refuse(self, error: BrokerConnectionError) -> None:
        if self._refusal is not None and not self._refusal.done():
            self._refusal.set_result(error)

    def _on_end(self) -> None:
        self._break(BrokerConnectionError("The connection to the gateway broke."))

    def _break(self, error: BrokerConnectionError) -> None:
        if self.broken is None and self._wire is not None:
            self.broken = error
            logger.warning("%s", error.message)
        self.ended.set()
        self._joined.set()
        self._clear.set()
        self._ledger.wake_all()


async def _hang_up(wire: IBClient) -> None:
    """Closes the socket and waits until it is."""
    connection = wire.client.conn
    transport = connection.transport
    wire.client.disconnect()
    if transport is None or connection.transport is None:
        return
    with suppress(TimeoutError):
        async with asyncio.timeout(CLOSE_SECONDS):
            await connection.disconnected
            return
    transport.abort()
