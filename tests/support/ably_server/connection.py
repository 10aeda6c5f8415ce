"""One websocket of a client: the realtime protocol, with the framing but not the I/O of `websockets`."""

import asyncio
import json
import secrets
from typing import Any

import msgpack
from websockets.frames import OP_BINARY, OP_TEXT
from websockets.frames import Frame as WebsocketFrame
from websockets.http11 import Request
from websockets.server import ServerProtocol

HEARTBEAT, ACK, CONNECTED, DISCONNECTED, CLOSE, CLOSED, ERROR = 0, 1, 4, 6, 7, 8, 9
ATTACH, ATTACHED, DETACH, DETACHED, MESSAGE = 10, 11, 12, 13, 15
RESUMED, PUBLISH, SUBSCRIBE = 1 << 2, 1 << 17, 1 << 18


def error(code: int, message: str, status: int | None = None) -> dict[str, Any]:
    """Return an error in wire format. A status of None is left out, as the real service sometimes does."""
    whole = {"code": code, "message": message, "statusCode": status}
    return {name: value for name, value in whole.items() if value is not None}


class Connection:
    """A connected client."""

    def __init__(self, server: Any, writer: asyncio.StreamWriter, query: dict[str, str]) -> None:
        self.server = server
        self.query = query
        self.attached: set[str] = set()
        self.open = False
        self.writer = writer
        self.protocol = ServerProtocol(max_size=None)
        self.id = self.key = ""

    async def serve(self, head: Any, reader: asyncio.StreamReader) -> None:
        """Serve the websocket until it ends."""
        self.protocol.receive_data(head)
        for request in self.protocol.events_received():
            assert isinstance(request, Request)
            self.protocol.send_response(self.protocol.accept(request))
        self._flush()
        self._greet()
        beats = asyncio.create_task(self._heartbeats())
        try:
            while data := await reader.read(65536):
                while self.server.stalled:  # what was read is stored and not answered
                    await asyncio.sleep(0.01)
                self.protocol.receive_data(data)
                for frame in self.protocol.events_received():
                    if isinstance(frame, WebsocketFrame) and frame.opcode in {OP_TEXT, OP_BINARY}:
                        self._handle(self._decode(frame.data))
                self._flush()
        finally:
            beats.cancel()
            self.open = False

    def _greet(self) -> None:
        key = self.query.get("key") or self.server.store.tokens.get(self.query.get("accessToken", ""))
        if key not in self.server.store.keys:
            self.send({"action": ERROR, "error": error(40101, "No application found with this key", 401)})
            return
        known = self.server.continuity.get(self.query.get("resume"))
        self.api_key = key
        self.id = known or secrets.token_urlsafe(6)
        self.key = f"{self.id}!{secrets.token_urlsafe(6)}"
        self.server.continuity[self.key] = self.id
        self.continues = bool(known)
        self.open = True
        details = {
            "connectionKey": self.key,
            "connectionStateTtl": 120_000,
            "maxIdleInterval": int(self.server.heartbeat_seconds * 2000),
        }
        self.send({"action": CONNECTED, "connectionId": self.id, "connectionDetails": details})
        self.server.count("connected")

    async def _heartbeats(self) -> None:
        while True:
            await asyncio.sleep(self.server.heartbeat_seconds)
            if self.open:
                self.send({"action": HEARTBEAT})

    def _handle(self, message: Any) -> None:
        action, channel = message.get("action"), message.get("channel")
        if action == HEARTBEAT and "id" in message:
            self.send({"action": HEARTBEAT, "id": message["id"]})
        elif action == ATTACH:
            self._attach(channel, message)
        elif action == DETACH:
            self.attached.discard(channel)
            self.send({"action": DETACHED, "channel": channel})
        elif action == MESSAGE:
            self.server.publish_here(channel, message["messages"])
            self.send({"action": ACK, "msgSerial": message["msgSerial"], "count": 1})
        elif action == CLOSE:
            self.open = False
            self.send({"action": CLOSED})

    def _attach(self, name: str, message: Any) -> None:
        capability = self.server.store.capability(self.api_key, name)
        if name in self.server.attach_ignored:
            return
        if "subscribe" not in capability and "publish" not in capability:
            denied = error(40160, f"Channel {name} denied access based on given capability", 401)
            self.send({"action": ERROR, "channel": name, "error": denied})
            self.server.count("denied")
            return
        channel = self.server.store.channel(name)
        serial = message.get("channelSerial")
        resumed = self.continues and bool(serial)
        flags = (SUBSCRIBE if "subscribe" in capability else 0) | (PUBLISH if "publish" in capability else 0)
        flags |= RESUMED if resumed else 0
        if "subscribe" in capability:
            self.attached.add(name)
        self.send({"action": ATTACHED, "channel": name, "channelSerial": channel.head, "flags": flags})
        for frame in channel.since(serial) if resumed else ():
            self.deliver(name, frame)
        self.server.count("attached")

    def deliver(self, name: str, frame: Any) -> None:
        """Send the messages of a frame."""
        self.send(
            {
                "action": MESSAGE,
                "channel": name,
                "channelSerial": frame.serial,
                "id": frame.id,
                "timestamp": frame.timestamp,
                "messages": frame.messages,
            }
        )

    def _decode(self, data: Any) -> Any:
        return msgpack.unpackb(data) if self.query.get("format") == "msgpack" else json.loads(data)

    def send(self, message: Any) -> None:
        """Send a message in the client's format."""
        if self.query.get("format") == "msgpack":
            self.send_raw(msgpack.packb(message))
        else:
            self.send_raw(json.dumps(message).encode())

    def send_raw(self, data: Any) -> None:
        """Send bytes as one frame."""
        if self.server.stalled or self.protocol.state.name != "OPEN":
            return
        if self.query.get("format") == "msgpack":
            self.protocol.send_binary(data)
        else:
            self.protocol.send_text(data)
        self._flush()

    def close_normally(self) -> None:
        """Close the websocket normally, as the real service does every few hours."""
        self.protocol.send_close(1000)
        self._flush()

    def drop(self) -> None:
        """Abort the transport."""
        self.open = False
        self.writer.transport.abort()

    def _flush(self) -> None:
        if self.writer.transport.is_closing():
            return
        for data in self.protocol.data_to_send():
            if data:
                self.writer.write(data)
            elif self.writer.can_write_eof():
                self.writer.write_eof()
