"""The gateway: it listens, knows who is connected, and can be told to fail."""

import asyncio
import contextlib
import threading
import time
from collections import Counter

from tests.support.ibkr_gateway import messages
from tests.support.ibkr_gateway.desk import Desk
from tests.support.ibkr_gateway.faults import Script
from tests.support.ibkr_gateway.session import Session

MOST_CLIENTS = 32


class Gateway:
    """One gateway process of one login. All methods belong to its event loop; the book outlives it."""

    def __init__(
        self,
        book,
        *,
        one_way_seconds=0.0,
        fill_seconds=0.0,
        cancel_seconds=0.0,
        values_lag_seconds=0.0,
        hold_id_seconds=0.0,
        market_data_lines=100,
    ):
        self.book = book
        self.script = Script()
        self.one_way_seconds = one_way_seconds
        self.fill_seconds = fill_seconds
        self.cancel_seconds = cancel_seconds
        self.values_lag_seconds = values_lag_seconds
        self.hold_id_seconds = hold_id_seconds
        self.market_data_lines = market_data_lines
        self.sessions = {}
        self.next_order_id = 1
        self.muted = False
        self.cut_off = False
        self.asked = Counter()
        self.peak_rate = 0
        self.when_taken = {}
        self.port = 0
        self.desk = Desk(self)
        self._login = None
        self._connections = set()
        self._held_ids = {}
        self._server = None
        self._happening = None

    @property
    def managed_accounts(self):
        """The accounts of the login: all of the book, unless it is said to be another's."""
        return self._login or list(self.book.accounts)

    @managed_accounts.setter
    def managed_accounts(self, account_ids):
        self._login = account_ids

    async def start(self):
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self):
        self.desk.close()
        self._server.close()
        self.drop_all()
        if self._connections:
            await asyncio.wait(self._connections)
        await self._server.wait_closed()

    async def restart(self, *, next_order_id=1):
        """The nightly restart: every socket goes, order ids begin anew, the broker's books stay."""
        await self.stop()
        self.next_order_id = next_order_id
        self.desk = Desk(self)
        await self.start()

    def drop_all(self):
        for session in list(self.sessions.values()):
            session.drop()

    def lose_broker(self):
        """1100: the gateway has lost its own connection; nothing is confirmed until it is back."""
        self.tell_all(messages.error(-1, 1100, "Connectivity between IBKR and Trader Workstation has been lost."))
        self.cut_off = True

    def regain_broker(self, code=1102):
        self.cut_off = False
        self.tell_all(messages.error(-1, code, "Connectivity between IBKR and Trader Workstation has been restored."))
        self.desk.resume()

    def enter(self, session, client_id):
        """Whether the client may have the id."""
        held = self._held_ids.get(client_id, 0.0) > time.monotonic()
        if client_id in self.sessions or held or len(self.sessions) >= MOST_CLIENTS:
            return False
        self.sessions[client_id] = session
        return True

    def left(self, session):
        if self.sessions.get(session.client_id) is session:
            del self.sessions[session.client_id]
            self._held_ids[session.client_id] = time.monotonic() + self.hold_id_seconds
            ids = [order.order_id for order in self.book.orders if order.client_id == session.client_id]
            self.next_order_id = max([self.next_order_id, *(order_id + 1 for order_id in ids)])

    def has_line(self):
        """Whether the login may follow another quote: its lines are for all its clients together."""
        return sum(len(session.lines) for session in self.sessions.values()) < self.market_data_lines

    def taken(self, order):
        """An order has come into the books: whatever was to happen then, happens next."""
        action = self.when_taken.pop(order.instrument.symbol, None)
        if action is not None:
            self._happening = asyncio.ensure_future(action())

    def tell_all(self, message):
        for session in self.sessions.values():
            if not self.cut_off:
                session.send(message)

    async def _accept(self, reader, writer):
        task = asyncio.current_task()
        self._connections.add(task)
        try:
            await Session(self, reader, writer).run()
        finally:
            self._connections.discard(task)


class GatewayThread:
    """A gateway in a thread with a loop of its own, so that a test may use `asyncio.run` as often as it likes."""

    def __init__(self, book, **options):
        self.book = book
        self.gateway = Gateway(book, **options)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="gateway", daemon=True)

    def __enter__(self):
        self._thread.start()
        self.wait(self.gateway.start())
        return self

    def __exit__(self, *_):
        with contextlib.suppress(TimeoutError):
            self.wait(self.gateway.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    @property
    def port(self):
        return self.gateway.port

    def wait(self, coroutine):
        """Lets the gateway's loop do something, and waits for it."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    def do(self, action, *arguments, **options):
        """Calls something in the gateway's loop."""

        async def call():
            return action(*arguments, **options)

        return self.wait(call())

    def when_taken(self, symbol, action):
        """As soon as an order of the symbol is in the books, the gateway's loop does this, once."""
        self.do(self.gateway.when_taken.__setitem__, symbol, action)

    def fault(self, kind, **fields):
        self.do(self.gateway.script.add, kind, **fields)
