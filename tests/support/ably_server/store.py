"""The data of the service: channels with their messages, keys with their capabilities, tokens."""

import base64
import hashlib
import hmac
import secrets
import time
from dataclasses import dataclass, field
from typing import Any

EVERYTHING = ("subscribe", "history", "publish")


def milliseconds(seconds: float) -> int:
    return int(seconds * 1000)


@dataclass
class Frame:
    """One MESSAGE frame of a channel; frames are ordered by serial."""

    serial: str
    id: str
    timestamp: int
    messages: list[dict[str, Any]]


@dataclass
class Channel:
    name: str
    frames: list[Frame] = field(default_factory=list)

    def history(self, start: Any, end: Any, oldest: Any) -> list[dict[str, Any]]:
        """Return stored messages, oldest first."""
        return [
            message
            for frame in self.frames
            for message in frame.messages
            if max(start, oldest) <= frame.timestamp <= end
        ]

    def since(self, serial: str) -> Any:
        """Return the frames after a serial."""
        return [frame for frame in self.frames if frame.serial > serial]

    @property
    def head(self) -> str:
        return self.frames[-1].serial if self.frames else "0" * 12


class Store:
    """The data of the service. Only its own thread uses it."""

    def __init__(self, key: Any) -> None:
        self.channels: dict[str, Channel] = {}
        self.keys = {key: {"*": EVERYTHING}}
        self.tokens: dict[str, Any] = {}
        self.retention_seconds = 3600.0
        self._serial = 0

    def channel(self, name: str) -> Any:
        return self.channels.setdefault(name, Channel(name))

    def publish(self, name: str, items: Any, *, age_seconds: float = 0.0, message_id: str | None = None) -> Any:
        """Store the messages of one frame with ids, timestamps and serials."""
        self._serial += 1
        now = milliseconds(time.time() - age_seconds)
        frame_id = message_id or f"{secrets.token_urlsafe(8)}:{self._serial}"
        frame = Frame(f"{self._serial:012d}", frame_id, now, [])
        for index, item in enumerate(items):
            whole = {
                "id": f"{frame_id}:{index}",
                "timestamp": now,
                "serial": f"{frame.serial}@test:{index:03d}",
                **item,
            }
            frame.messages.append({name: value for name, value in whole.items() if value is not None})
        self.channel(name).frames.append(frame)
        return frame

    def capability(self, key: Any, channel: str) -> Any:
        """Return the operations that a key may perform on a channel; none if the key is unknown."""
        capability = self.keys.get(key, {})
        return capability.get(channel, capability.get("*", ()))

    def issue_token(self, request: Any) -> Any:
        """Return a token for a signed request; None if the key is unknown or the signature is invalid."""
        key = next((known for known in self.keys if known.partition(":")[0] == request.get("keyName")), None)
        if key is None:
            return None
        fields = ("keyName", "ttl", "capability", "clientId", "timestamp", "nonce")
        text = "".join(f"{request.get(name) or ''}\n" for name in fields)
        mac = hmac.new(key.partition(":")[2].encode(), text.encode(), hashlib.sha256).digest()
        if base64.b64encode(mac).decode() != request.get("mac"):
            return None
        token = f"token-{secrets.token_urlsafe(12)}"
        self.tokens[token] = key
        now = milliseconds(time.time())
        return {"token": token, "issued": now, "expires": now + 3_600_000, "capability": '{"*":["*"]}'}

    def key_of(self, authorization: Any) -> Any:
        """Return the key of a basic or bearer Authorization header; None if it is unknown."""
        kind, _, coded = (authorization or "").partition(" ")
        text = base64.b64decode(coded).decode() if coded else ""
        key = self.tokens.get(text) if kind.lower() == "bearer" else text
        return key if key in self.keys else None
