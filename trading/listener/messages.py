"""From the SDK's message, or an item of raw history, to what the inbox takes: the same message comes out the same."""

import base64
import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from ably import AblyException
from ably.types.message import Message
from django.utils import timezone
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from trading.models.run_documents import TradingValue, Unreadable

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
YEAR_9999_MS = 253_370_764_800_000
SILENT_NAMES = {"error"}
"""Messages of these names never reach a listener of the SDK; only history has them."""


class Received(TradingValue):
    """A message of a channel."""

    channel: str
    message_id: str
    published_at: datetime
    serial: str
    payload: Any
    silent: bool = False

    @property
    def is_readable(self) -> bool:
        """Whether it could be decoded."""
        return not isinstance(self.payload, Unreadable)

    @property
    def frame_id(self) -> str:
        """What the messages that were published together have in common."""
        return self.message_id.rpartition(":")[0] or self.message_id


class _Envelope(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True)

    id: str = Field(min_length=1)
    timestamp: int = Field(ge=0, lt=YEAR_9999_MS)
    serial: str | None = None


def from_live(channel: str, message: Message) -> Received:
    """What the SDK has decoded."""
    head = {"id": message.id, "timestamp": message.timestamp, "serial": message.serial}
    payload = _payload(message)
    return _received(channel, head, payload, message.name, payload)


def from_history(channel: str, item: object) -> Received:
    """An item of a raw page: one that cannot be decoded is kept as unreadable, and spoils no other."""
    if not isinstance(item, Mapping):
        return _received(channel, {}, Unreadable(content=_text(item), why="it is not an object"), None, item)
    head = {name: item.get(name) for name in ("id", "timestamp", "serial")}
    try:
        payload = _payload(Message.from_encoded(dict(item)))
    except (AblyException, ValueError, TypeError, AttributeError, LookupError, RecursionError) as error:
        payload = Unreadable(content=_text(item), why=f"{type(error).__name__}: {error}")
    return _received(channel, head, payload, item.get("name"), item)


def _received(channel: str, head: Mapping[str, object], payload: object, name: object, whole: object) -> Received:
    try:
        envelope = _Envelope.model_validate(head)
    except ValidationError as error:
        fields = ", ".join(str(item["loc"][0]) for item in error.errors())
        known = head.get("id")
        return Received(
            channel=channel,
            message_id=known if isinstance(known, str) and known else _made_up_id(whole),
            published_at=timezone.now(),
            serial="",
            payload=Unreadable(content=_text(whole), why=f"its {fields} cannot be read"),
        )
    return Received(
        channel=channel,
        message_id=envelope.id,
        published_at=EPOCH + timedelta(milliseconds=envelope.timestamp),
        serial=envelope.serial or "",
        payload=payload,
        silent=name in SILENT_NAMES if isinstance(name, str) else False,
    )


def _payload(message: Message) -> object:
    if message.encoding:
        return Unreadable(content=_text(message.data), why=f"its encoding is {message.encoding!r}")
    if isinstance(message.data, bytes | bytearray):
        try:
            return bytes(message.data).decode()
        except UnicodeDecodeError:
            return Unreadable(content=_text(message.data), why="it is binary and not text")
    return message.data


def _text(content: object) -> str:
    if isinstance(content, Unreadable):
        return content.content
    return content if isinstance(content, str) else json.dumps(content, default=_plain)


def _plain(value: object) -> str:
    if isinstance(value, bytes | bytearray):
        return base64.b64encode(bytes(value)).decode()
    return str(value)


def _made_up_id(whole: object) -> str:
    return f"no-id-{hashlib.sha256(_text(whole).encode()).hexdigest()[:32]}"
