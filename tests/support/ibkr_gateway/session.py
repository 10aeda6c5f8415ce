"""The connection of one client."""

import asyncio
import contextlib
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.support.ibkr_gateway import messages, requests
from tests.support.ibkr_gateway.framing import frame, read_fields, read_greeting
from tests.support.ibkr_gateway.messages import Message
from tests.support.ibkr_gateway.network_delay import DelayedQueue
from tests.support.ibkr_gateway.responses import Responses

if TYPE_CHECKING:
    from tests.support.ibkr_gateway.server import Gateway

MESSAGES_PER_SECOND = 50

PLACE_ORDER, CANCEL_ORDER, OPEN_ORDERS, EXECUTIONS, ALL_OPEN_ORDERS, COMPLETED_ORDERS = "3", "4", "5", "7", "16", "99"
VALUES_MULTI = "76"
"""Types of requests."""
ORDER_REQUESTS = {PLACE_ORDER, CANCEL_ORDER, OPEN_ORDERS, ALL_OPEN_ORDERS, COMPLETED_ORDERS}
ORDER_ID_FIELDS = {PLACE_ORDER: 1, CANCEL_ORDER: 2}
READ_ONLY = "Error validating request.-'bO' : cause - The API interface is currently in Read-Only mode."


class Session:
    """Reads requests and writes messages, each with the network delay."""

    def __init__(self, gateway: "Gateway", reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.gateway = gateway
        self.client_id = -1
        self.requests: Counter[str] = Counter()
        self.market_data_type = 1
        self.is_paced = False
        self.lines: set[int] = set()
        self.empty_until = 0.0
        self._reader = reader
        self._writer = writer
        self._in = DelayedQueue(gateway.one_way_seconds, self._handle)
        self._out = DelayedQueue(gateway.one_way_seconds, self._write)
        self._responses = responses = Responses(self)
        self._recent: deque[float] = deque()
        self._handlers: dict[str, Callable[[list[str]], object]] = {
            "1": lambda fields: responses.market_data(int(fields[2]), requests.requested_contract(fields[3:15])),
            "2": lambda fields: self.lines.discard(int(fields[2])),
            "3": lambda fields: gateway.order_handler.place(self, requests.place_order(fields)),
            "4": lambda fields: gateway.order_handler.cancel(self, int(fields[2])),
            "5": lambda _: responses.open_orders(own=True),
            "6": lambda fields: responses.account_updates(fields[3], subscribe=fields[2] == "1"),
            "7": lambda fields: responses.executions(int(fields[2]), fields[4]),
            "8": lambda _: self.send(messages.next_valid_id(gateway.next_order_id)),
            "9": lambda fields: responses.contract_details(int(fields[2]), requests.requested_contract(fields[3:15])),
            "15": lambda _: None,
            "16": lambda _: responses.open_orders(own=False),
            "17": lambda _: self.send(messages.managed_accounts(gateway.managed_accounts)),
            "49": lambda _: self.send(messages.current_time(int(time.time()))),
            "59": lambda fields: setattr(self, "market_data_type", int(fields[2])),
            "61": lambda _: responses.positions(),
            "64": lambda _: None,
            "71": lambda fields: self._start(int(fields[2])),
            "76": lambda fields: responses.values_multi(int(fields[2]), fields[3]),
            "77": lambda _: None,
            "91": lambda fields: responses.market_rule(int(fields[1])),
            "99": lambda _: responses.completed_orders(),
        }

    async def run(self) -> None:
        """Serve the client until it disconnects."""
        try:
            self.is_paced = "+PACEAPI" in await read_greeting(self._reader)
            self.send([messages.SERVER_VERSION, time.strftime("%Y%m%d %H:%M:%S EST")])
            while True:
                self._in.put(await read_fields(self._reader))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.gateway.unregister(self)
            await self._close()

    @property
    def is_empty(self) -> bool:
        """Whether the gateway has not received the orders and executions from the broker yet."""
        return time.monotonic() < self.empty_until

    def send(self, message: Message) -> None:
        """Send a message, unless the gateway is muted."""
        if not self.gateway.muted:
            self._out.put(message)

    def drop(self) -> None:
        """Close the socket without a message."""
        self._in.close()
        self._out.close()
        self._writer.transport.abort()

    def _write(self, message: Message) -> None:
        if not self._writer.transport.is_closing():
            self._writer.write(frame(*message))

    def _handle(self, fields: list[str]) -> None:
        if self.gateway.muted:
            return
        self.requests[fields[0]] += 1
        self.gateway.requests[fields[0]] += 1
        self._count_rate()
        handler = self._handlers.get(fields[0])
        if handler is None:
            self.send(messages.error(-1, 505, f"Fatal Error: Unknown message id {fields[0]}."))
            return
        if self.gateway.is_read_only and fields[0] in ORDER_REQUESTS:
            order_id = fields[ORDER_ID_FIELDS[fields[0]]] if fields[0] in ORDER_ID_FIELDS else "-1"
            self.send(messages.error(int(order_id), 321, READ_ONLY))
        elif fields[0] not in self.gateway.unanswered:
            handler(fields)

    def _count_rate(self) -> None:
        now = time.monotonic()
        self._recent.append(now)
        while now - self._recent[0] >= 1:
            self._recent.popleft()
        self.gateway.peak_rate = max(self.gateway.peak_rate, len(self._recent))
        # A real gateway delays excess messages of a client that requests it, and reports an error to the others.
        if len(self._recent) > MESSAGES_PER_SECOND and not self.is_paced:
            self.send(messages.error(-1, 100, "Max rate of messages per second has been exceeded."))

    def _start(self, client_id: int) -> None:
        if self.gateway.refusal is not None:
            self.send(messages.error(-1, *self.gateway.refusal))
            return
        if not self.gateway.register(self, client_id):
            message = "Unable to connect as the client id is already in use. Retry with a unique client id."
            self.send(messages.error(-1, 326, message))
            asyncio.get_running_loop().call_later(self.gateway.one_way_seconds + 0.05, self._writer.close)
            return
        self.client_id = client_id
        self.empty_until = time.monotonic() + self.gateway.empty_seconds
        self.send(messages.managed_accounts(self.gateway.managed_accounts))
        self.send(messages.next_valid_id(self.gateway.next_order_id))
        if self.gateway.broker_lost:
            message = "Connectivity between Trader Workstation and server is broken. It will be restored automatically."
            self.send(messages.error(-1, 2110, message))
        for code, farm in ((2104, "usfarm"), (2106, "ushmds"), (2158, "secdefnj")):
            self.send(messages.error(-1, code, f"Data farm connection is OK:{farm}"))

    async def _close(self) -> None:
        self._in.close()
        self._out.close()
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()
