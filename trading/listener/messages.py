"""Convert live messages of the SDK and raw items of history into the same form, so that duplicates are equal."""

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
HISTORY_ONLY_NAMES = {"error"}
"""Names of messages that the SDK does not deliver to a listener. Only history has them."""


class Received(TradingValue):
    """A message of a channel, received live or read from history."""

    channel: str
    message_id: str
    published_at: datetime
    serial: str
    payload: Any
    history_only: bool = False

    @property
    def is_readable(self) -> bool:
        """Whether the payload could be decoded."""
        return not isinstance(self.payload, Unreadable)

    @property
    def frame_id(self) -> str:
        """The id that messages published in one frame share."""
        return self.message_id.rpartition(":")[0] or self.message_id


class _Envelope(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True)

    id: str = Field(min_length=1)
    timestamp: int = Field(ge=0, lt=YEAR_9999_MS)
    serial: str | None = None


def from_live(channel: str, message: Message) -> Received:
    """Convert a live message, which the SDK has decoded."""
    head = {"id": message.id, "timestamp": message.timestamp, "serial": message.serial}
    payload = _payload(message)
    return _received(channel, head, payload, message.name, payload)


def from_history(channel: str, item: object) -> Received:
    """Convert an item of a raw page of history. An undecodable item becomes unreadable, without affecting others."""
    if not isinstance(item, Mapping):
        return _received(channel, {}, Unreadable(content=_text(item), why="the item is not an object"), None, item)
    head = {name: item.get(name) for name in ("id", "timestamp", "serial")}
    try:
        payload = _payload(Message.from_encoded(dict(item)))
    except (AblyException, ValueError, TypeError, AttributeError, LookupError, RecursionError) as error:
        payload = Unreadable(content=_text(item), why=f"{type(error).__name__}: {error}")
    return _received(channel, head, payload, item.get("name"), item)


def _received(channel: str, head: Mapping[str, object], payload: object, name: object, source: object) -> Received:
    try:
        envelope = _Envelope.model_validate(head)
    except ValidationError as error:
        fields = ", ".join(str(item["loc"][0]) for item in error.errors())
        known = head.get("id")
        return Received(
            channel=channel,
            message_id=known if isinstance(known, str) and known else _derived_id(source),
            published_at=timezone.now(),
            serial="",
            payload=Unreadable(content=_text(source), why=f"invalid fields: {fields}"),
        )
    return Received(
        channel=channel,
        message_id=envelope.id,
        published_at=EPOCH + timedelta(milliseconds=envelope.timestamp),
        serial=envelope.serial or "",
        payload=payload,
        history_only=name in HISTORY_ONLY_NAMES if isinstance(name, str) else False,
    )


def _payload(message: Message) -> object:
    if message.encoding:
        return Unreadable(content=_text(message.data), why=f"unsupported encoding {message.encoding!r}")
    if isinstance(message.data, bytes | bytearray):
        try:
            return bytes(message.data).decode()
        except UnicodeDecodeError:
            return Unreadable(content=_text(message.data), why="the data is binary, not text")
    return message.data


def _text(content: object) -> str:
    if isinstance(content, Unreadable):
        return content.content
    return content if isinstance(content, str) else json.dumps(content, default=_to_text)


def _to_text(value: object) -> str:
    if isinstance(value, bytes | bytearray):
        return base64.b64encode(bytes(value)).decode()
    return str(value)


def _derived_id(source: object) -> str:
    """Return an id derived from the content, so that the same item has the same id each time it is read."""
    return f"no-id-{hashlib.sha256(_text(source).encode()).hexdigest()[:32]}"
