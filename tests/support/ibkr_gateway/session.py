"""One client's connection."""

import asyncio
import contextlib
import time
from collections import Counter, deque

from tests.support.ibkr_gateway import messages, requests
from tests.support.ibkr_gateway.answers import Answers
from tests.support.ibkr_gateway.line import DelayedLine
from tests.support.ibkr_gateway.wire import frame, read_fields, read_greeting

MESSAGES_PER_SECOND = 50


class Session:
    """Reads what the client asks, and writes what the gateway says, each with the latency of the line."""

    def __init__(self, gateway, reader, writer):
        self.gateway = gateway
        self.client_id = None
        self.asked = Counter()
        self.market_data_type = 1
        self.is_paced = False
        self.lines = set()
        self.followed_account = ""
        self._reader = reader
        self._writer = writer
        self._in = DelayedLine(gateway.one_way_seconds, self._handle)
        self._out = DelayedLine(gateway.one_way_seconds, self._write)
        self._answers = Answers(self)
        self._recent = deque()
        self._handlers = {
            "1": lambda fields: self._answers.market_data(int(fields[2]), requests.asked_contract(fields[3:15])),
            "2": lambda fields: self.lines.discard(int(fields[2])),
            "3": lambda fields: gateway.desk.place(self, requests.place_order(fields)),
            "4": lambda fields: gateway.desk.cancel(self, int(fields[2])),
            "5": lambda _: self._answers.open_orders(own=True),
            "6": lambda fields: self._answers.account_updates(fields[3], subscribe=fields[2] == "1"),
            "7": lambda fields: self._answers.executions(int(fields[2]), fields[4]),
            "8": lambda _: self.send(messages.next_valid_id(gateway.next_order_id)),
            "9": lambda fields: self._answers.contract_details(int(fields[2]), requests.asked_contract(fields[3:15])),
            "15": lambda _: None,
            "16": lambda _: self._answers.open_orders(own=False),
            "17": lambda _: self.send(messages.managed_accounts(gateway.managed_accounts)),
            "49": lambda _: self.send(messages.current_time(int(time.time()))),
            "59": lambda fields: setattr(self, "market_data_type", int(fields[2])),
            "61": lambda _: self._answers.positions(),
            "64": lambda _: None,
            "71": lambda fields: self._start(int(fields[2])),
            "76": lambda fields: self._answers.values_multi(int(fields[2]), fields[3]),
            "77": lambda _: None,
            "91": lambda fields: self._answers.market_rule(int(fields[1])),
            "99": lambda _: self._answers.completed_orders(),
        }

    async def run(self):
        """The whole conversation."""
        try:
            self.is_paced = "+PACEAPI" in await read_greeting(self._reader)
            self.send([messages.SERVER_VERSION, time.strftime("%Y%m%d %H:%M:%S EST")])
            while True:
                self._in.put(await read_fields(self._reader))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.gateway.left(self)
            await self._close()

    def send(self, message):
        """Says something, if the gateway says anything at all."""
        if not self.gateway.muted:
            self._out.put(message)

    def drop(self):
        """Closes the socket without a word."""
        self._in.close()
        self._out.close()
        self._writer.transport.abort()

    def _write(self, message):
        if not self._writer.transport.is_closing():
            self._writer.write(frame(*message))

    def _handle(self, fields):
        if self.gateway.muted:
            return
        self.asked[fields[0]] += 1
        self.gateway.asked[fields[0]] += 1
        self._count_rate()
        handler = self._handlers.get(fields[0])
        if handler is None:
            self.send(messages.error(-1, 505, f"Fatal Error: Unknown message id {fields[0]}."))
            return
        handler(fields)

    def _count_rate(self):
        now = time.monotonic()
        self._recent.append(now)
        while now - self._recent[0] >= 1:
            self._recent.popleft()
        self.gateway.peak_rate = max(self.gateway.peak_rate, len(self._recent))
        # It holds back what is too much for a client that asks for it, and complains to the others.
        if len(self._recent) > MESSAGES_PER_SECOND and not self.is_paced:
            self.send(messages.error(-1, 100, "Max rate of messages per second has been exceeded."))

    def _start(self, client_id):
        if not self.gateway.enter(self, client_id):
            words = "Unable to connect as the client id is already in use. Retry with a unique client id."
            self.send(messages.error(-1, 326, words))
            asyncio.get_running_loop().call_later(self.gateway.one_way_seconds + 0.05, self._writer.close)
            return
        self.client_id = client_id
        self.send(messages.managed_accounts(self.gateway.managed_accounts))
        self.send(messages.next_valid_id(self.gateway.next_order_id))
        if self.gateway.cut_off:
            words = "Connectivity between Trader Workstation and server is broken. It will be restored automatically."
            self.send(messages.error(-1, 2110, words))
        for code, farm in ((2104, "usfarm"), (2106, "ushmds"), (2158, "secdefnj")):
            self.send(messages.error(-1, code, f"Data farm connection is OK:{farm}"))

    async def _close(self):
        self._in.close()
        self._out.close()
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()
