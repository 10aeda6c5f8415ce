"""The gateway: it accepts clients, tracks their sessions, and can be made to fail."""

import asyncio
import contextlib
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Self, TypeVar

from tests.support.ibkr_gateway import messages
from tests.support.ibkr_gateway.account_records import AccountRecords, GatewayOrder
from tests.support.ibkr_gateway.faults import Kind, Script
from tests.support.ibkr_gateway.messages import Message
from tests.support.ibkr_gateway.order_handler import OrderHandler
from tests.support.ibkr_gateway.session import Session

T = TypeVar("T")

MAX_CLIENTS = 32


class Gateway:
    """One gateway process of one login. All methods run in its event loop. The records outlive it."""

    def __init__(
        self,
        records: AccountRecords,
        *,
        one_way_seconds: float = 0.0,
        fill_seconds: float = 0.0,
        cancel_seconds: float = 0.0,
        values_lag_seconds: float = 0.0,
        hold_id_seconds: float = 0.0,
        empty_seconds: float = 0.0,
        market_data_lines: int = 100,
    ) -> None:
        self.records = records
        self.script = Script()
        self.one_way_seconds = one_way_seconds
        self.fill_seconds = fill_seconds
        self.cancel_seconds = cancel_seconds
        self.values_lag_seconds = values_lag_seconds
        self.hold_id_seconds = hold_id_seconds
        self.empty_seconds = empty_seconds
        self.market_data_lines = market_data_lines
        self.sessions: dict[int, Session] = {}
        self.next_order_id = 1
        self.muted = False
        self.is_read_only = False
        self.refusal: tuple[int, str] | None = None  # error to every client that connects
        self.followed: tuple[int, str] | None = None  # another client, and the account whose values it follows
        self.unanswered: set[str] = set()  # types of requests that get no response
        self.broker_lost = False
        self.definitions_lost = False
        self.requests: Counter[str] = Counter()
        self.peak_rate = 0
        self.when_accepted: dict[str, Callable[[], Awaitable[object]]] = {}
        self.port = 0
        self.order_handler = OrderHandler(self)
        self.connections: set[asyncio.Task[Any] | None] = set()
        self._login: list[str] | None = None
        self._held_ids: dict[int, float] = {}
        self._server: asyncio.Server | None = None
        self._action: asyncio.Future[object] | None = None

    @property
    def managed_accounts(self) -> list[str]:
        """The accounts of the login: those of the records, unless set otherwise."""
        return self._login or list(self.records.accounts)

    @managed_accounts.setter
    def managed_accounts(self, account_ids: list[str]) -> None:
        self._login = account_ids

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        self.order_handler.close()
        self._server.close()
        self.drop_all()
        if self.connections:
            await asyncio.wait([task for task in self.connections if task])
        await self._server.wait_closed()

    async def restart(self, *, next_order_id: int = 1) -> None:
        """Restart as every night: all sockets close and order ids start over, but the broker's records remain."""
        await self.stop()
        self.next_order_id = next_order_id
        self.order_handler = OrderHandler(self)
        await self.start()

    def drop_all(self) -> None:
        for session in list(self.sessions.values()):
            session.drop()

    def close_sockets(self) -> None:
        """Close the connections that have not started the API, too."""
        for task in self.connections:
            if task is not None:
                task.cancel()

    def send_error_to_all(self, code: int, message: str) -> None:
        self.send_to_all(messages.error(-1, code, message))

    def show_records(self) -> None:
        """End the time after the connection in which lists of orders and executions are empty."""
        for session in self.sessions.values():
            session.empty_until = 0.0

    def lose_broker(self) -> None:
        """Lose the connection to the broker (1100). Nothing is confirmed until it is restored."""
        self.send_to_all(messages.error(-1, 1100, "Connectivity between IBKR and Trader Workstation has been lost."))
        self.broker_lost = True

    def restore_broker(self, code: int = 1102) -> None:
        self.broker_lost = False
        message = "Connectivity between IBKR and Trader Workstation has been restored."
        self.send_to_all(messages.error(-1, code, message))
        self.order_handler.resume()

    def lose_definitions(self, *, announced: bool = True) -> None:
        """Lose the security definitions: no contract is found. A gateway does not always announce it (2157)."""
        self.definitions_lost = True
        if announced:
            self.send_to_all(messages.error(-1, 2157, "Sec-def data farm connection is broken:secdefnj"))

    def restore_definitions(self) -> None:
        self.definitions_lost = False
        self.send_to_all(messages.error(-1, 2158, "Sec-def data farm connection is OK:secdefnj"))

    def register(self, session: Session, client_id: int) -> bool:
        """Return whether the session gets the client id."""
        held = self._held_ids.get(client_id, 0.0) > time.monotonic()
        if client_id in self.sessions or held or len(self.sessions) >= MAX_CLIENTS:
            return False
        self.sessions[client_id] = session
        return True

    def unregister(self, session: Session) -> None:
        if self.sessions.get(session.client_id) is session:
            del self.sessions[session.client_id]
            self._held_ids[session.client_id] = time.monotonic() + self.hold_id_seconds
            ids = [order.order_id for order in self.records.orders if order.client_id == session.client_id]
            self.next_order_id = max([self.next_order_id, *(order_id + 1 for order_id in ids)])

    def has_free_line(self) -> bool:
        """Return whether the login has a free market data line. All its clients share its lines."""
        return sum(len(session.lines) for session in self.sessions.values()) < self.market_data_lines

    def on_accepted(self, order: GatewayOrder) -> None:
        """Start the action that was set for the acceptance of an order of this symbol."""
        action = self.when_accepted.pop(order.instrument.symbol, None)
        if action is not None:
            self._action = asyncio.ensure_future(action())

    def send_to_all(self, message: Message) -> None:
        for session in self.sessions.values():
            if not self.broker_lost:
                session.send(message)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        self.connections.add(task)
        try:
            await Session(self, reader, writer).run()
        finally:
            self.connections.discard(task)


class GatewayThread:
    """A gateway in a thread with its own event loop, so that a test can call `asyncio.run` repeatedly."""

    def __init__(self, records: AccountRecords, **options: Any) -> None:
        self.records = records
        self.gateway = Gateway(records, **options)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="gateway", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self.wait(self.gateway.start())
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(TimeoutError):
            self.wait(self.gateway.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    @property
    def port(self) -> int:
        return self.gateway.port

    def wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the gateway's loop, and wait for its result."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    def do(self, action: Callable[..., T], *arguments: Any, **options: Any) -> T:
        """Call a function in the gateway's loop."""

        async def call() -> T:
            return action(*arguments, **options)

        return self.wait(call())

    def when_accepted(self, symbol: str, action: Callable[[], Awaitable[object]]) -> None:
        """Run an action once, in the gateway's loop, as soon as an order of the symbol is accepted."""
        self.do(self.gateway.when_accepted.__setitem__, symbol, action)

    def fault(self, kind: Kind, **fields: Any) -> None:
        self.do(self.gateway.script.add, kind, **fields)
