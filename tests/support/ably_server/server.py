"""The service: one port for websocket and REST, in its own thread, with faults that a test injects."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from enum import StrEnum
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from tests.support.ably_server.connection import DISCONNECTED, ERROR, Connection, error
from tests.support.ably_server.rest import MAX_PAGE_SIZE, Rest, encode
from tests.support.ably_server.store import Store

KEY = "app.key:secret-of-the-test-service"


class Fault(StrEnum):
    """Faults of all open connections at once, injected by `AblyServer.inject`."""

    DROP = "drop"
    NORMAL_CLOSE = "normal close"
    STALL = "stall"
    DISCONNECTED = "disconnected with an error"
    DISCONNECTED_WITHOUT_ERROR = "disconnected without an error"
    DISCONNECTED_WITHOUT_STATUS = "disconnected without a status code"
    DISCONNECTED_50X = "disconnected with a 50x"
    CONNECTION_ERROR = "connection error"
    FORGOTTEN_ATTACHMENT = "forgotten attachment"
    CONTINUITY_LOST = "continuity lost"
    MALFORMED = "malformed frame"


class AblyServer:
    """A service with one key. The public methods can be called from any thread."""

    def __init__(self) -> None:
        self.key = KEY
        self.store = Store(KEY)
        self.connections: list[Any] = []
        self.continuity: dict[str, Any] = {}
        self.stalled = False
        self.refusing = False
        self.attach_ignored: set[str] = set()
        self.rest_status = 0
        self.clock_delay = 0.0
        self.max_page_size = MAX_PAGE_SIZE
        self.heartbeat_seconds = 5.0
        self._writers: set[asyncio.StreamWriter] = set()
        self._counts: dict[str, int] = {}
        self._changed = threading.Condition()
        self._loop = asyncio.new_event_loop()
        self._rest = Rest(self)

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._run, name="ably-server", daemon=True)
        self._thread.start()
        self.port = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    async def _listen(self) -> int:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    async def _close(self) -> None:
        self._server.close()
        self.stalled = False
        for writer in self._writers:
            writer.transport.abort()
        while self._writers:
            await asyncio.sleep(0.01)

    # ---- called by tests

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function in the service's thread, and return its result."""

        async def run() -> Any:
            return function(*arguments)

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(10)

    def publish(self, channel: str, data: Any, **fields: Any) -> Any:
        """Publish one message, and return its id."""
        return self.publish_batch(channel, [{"data": data}], **fields)[0]

    def publish_batch(self, channel: str, items: Any, *, times: int = 1, live: bool = True, **fields: Any) -> Any:
        """Publish messages in one frame, in wire format, and return their ids; `live=False` adds them to history only."""

        def publish() -> Any:
            frame = self.store.publish(channel, items, **fields)
            for _ in range(times if live else 0):
                self._fan_out(channel, frame)
            return [message.get("id") for message in frame.messages]

        return self.call(publish)

    def publish_here(self, channel: str, items: Any) -> None:
        """Publish messages sent by a client. Runs in the service's thread."""
        self._fan_out(channel, self.store.publish(channel, items))

    def inject(self, fault: Any) -> None:
        """Inject a fault into every open connection."""
        self.call(self._inject, Fault(fault))

    def set(self, **fields: Any) -> None:
        """Set lasting faults: `refusing`, `stalled`, `rest_status`, `clock_delay` (seconds before the time is read) …"""

        def assign() -> None:
            for name, value in fields.items():
                if not hasattr(self, name):
                    raise AttributeError(name)
                setattr(self, name, value)

        self.call(assign)

    def allow(self, capability: Any, key: Any = KEY) -> None:
        """Set the capability of a key by channel (`*`: all others); None revokes the key."""
        self.call(lambda: self.store.keys.pop(key, None) if capability is None else self._allow(key, capability))

    def _allow(self, key: Any, capability: Any) -> None:
        self.store.keys[key] = capability

    def set_retention(self, seconds: float) -> None:
        """Set the retention of history."""
        self.call(setattr, self.store, "retention_seconds", seconds)

    def seen(self, what: str) -> Any:
        """Return how many times `connected`, `attached`, `denied` or `history` occurred."""
        with self._changed:
            return self._counts.get(what, 0)

    def wait_for(self, what: str, number: int = 1, seconds: float = 20) -> None:
        """Wait until it has occurred `number` times."""
        until = time.monotonic() + seconds
        with self._changed:
            while self._counts.get(what, 0) < number:
                if not self._changed.wait(until - time.monotonic()):
                    raise AssertionError(f"{what} occurred {self._counts.get(what, 0)} times, not {number}.")

    def count(self, what: str) -> None:
        """Count an occurrence."""
        with self._changed:
            self._counts[what] = self._counts.get(what, 0) + 1
            self._changed.notify_all()

    # ---- in the service's thread

    def _fan_out(self, channel: str, frame: Any) -> None:
        for connection in self.connections:
            if connection.open and channel in connection.attached:
                connection.deliver(channel, frame)

    def _inject(self, fault: Any) -> None:
        if fault == Fault.CONTINUITY_LOST:
            self.continuity.clear()
        if fault == Fault.STALL:
            self.stalled = True
        for connection in [one for one in self.connections if one.open]:
            self._inject_one(connection, fault)

    @staticmethod
    def _inject_one(connection: Any, fault: Any) -> None:
        disconnects = {
            Fault.DISCONNECTED: error(80003, "Server is going away", 400),
            Fault.DISCONNECTED_WITHOUT_ERROR: None,
            Fault.DISCONNECTED_WITHOUT_STATUS: error(80003, "Server is going away"),
            Fault.DISCONNECTED_50X: error(50003, "Timed out", 503),
        }
        if fault in {Fault.DROP, Fault.CONTINUITY_LOST}:
            connection.drop()
        elif fault == Fault.NORMAL_CLOSE:
            connection.close_normally()
        elif fault in disconnects:
            connection.send({"action": DISCONNECTED} | ({"error": disconnects[fault]} if disconnects[fault] else {}))
            connection.open = False
        elif fault == Fault.CONNECTION_ERROR:
            connection.send({"action": ERROR, "error": error(50000, "Internal error", 500)})
            connection.open = False
        elif fault == Fault.FORGOTTEN_ATTACHMENT:
            connection.attached.clear()
        elif fault == Fault.MALFORMED:
            connection.send_raw(
                b"\x93{]\xff" if connection.query.get("format") == "msgpack" else b'{"action": 15, "mess'
            )

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            await self._requests(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            if self.refusing:
                writer.transport.abort()
                return
            request, *lines = head.decode("latin-1").split("\r\n")
            method, target, _ = request.split(" ")
            headers = {
                name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
            }
            if headers.get("upgrade", "").lower() == "websocket":
                query = {name: values[-1] for name, values in parse_qs(urlsplit(target).query).items()}
                connection = Connection(self, writer, query)
                self.connections.append(connection)
                try:
                    await connection.serve(head, reader)
                finally:
                    self.connections.remove(connection)
                return
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            while self.stalled:
                await asyncio.sleep(0.01)
            if target.startswith("/time"):
                await asyncio.sleep(self.clock_delay)
            status, content, more = self._rest.answer(method, target, headers, body)
            answer, kind = encode(content, headers.get("accept", ""))
            more |= {"Content-Type": kind, "Content-Length": str(len(answer))}
            top = "".join(f"{name}: {value}\r\n" for name, value in more.items())
            writer.write(f"HTTP/1.1 {status} Answer\r\n{top}\r\n".encode() + answer)
            await writer.drain()
