"""Payload and identity of a message: parsing, storable text, detection of duplicates and conflicts."""

import hashlib
import json
from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db import IntegrityError, transaction
from django.db.models import F
from pydantic import ValidationError

from accounts.refusal_text import problem_sentences, shortened
from trading.common.clock import MAX_SKEW_SECONDS, database_now
from trading.common.strict_json import JsonObject, read_json
from trading.errors import EventRejected
from trading.journal.outbox import notify_event_not_accepted
from trading.models import EventSource, EventState, StrategyEvent
from trading.models.run_documents import ACCOUNT_KEYS, EventData, ExecCommand, Unreadable

MAX_MESSAGE_ID = 160
"""Maximum length of a stored message id, in characters."""
MAX_WHY = 200
"""Maximum length of a repeated reason why a message cannot be decoded, in characters."""
MAX_CHANNEL = 64
"""Maximum length of a stored channel name, in characters."""
MAX_PAYLOAD_BYTES = 65_536
"""Maximum size of an event's payload. Of a larger one, the first `KEPT_OF_LARGE_PAYLOAD` characters are stored."""
KEPT_OF_LARGE_PAYLOAD = 1000
MAX_AHEAD = timedelta(seconds=MAX_SKEW_SECONDS)
"""Maximum time by which a publication time may be ahead of the database's clock."""


def new_event(
    source: EventSource, channel: str, message_id: str, payload: object, published_at: datetime | None, serial: str
) -> StrategyEvent:
    """Return an event that is not stored yet. Events are ordered by publication time, so a future one is not kept."""
    text, digest = text_and_digest(payload)
    now = database_now()
    event = StrategyEvent(
        source=source,
        channel=storable(channel)[:MAX_CHANNEL],
        message_id=stored_id(message_id),
        payload=text if _size(text) <= MAX_PAYLOAD_BYTES else text[:KEPT_OF_LARGE_PAYLOAD],
        payload_digest=digest,
        published_at=published_at or now,
        serial=storable(serial)[:MAX_MESSAGE_ID],
    )
    if event.published_at > now + MAX_AHEAD:
        seconds = int((event.published_at - now).total_seconds())
        event.published_at, event.reason_code = now, "published_ahead"
        event.reason = f"Published {seconds} seconds ahead of the database's clock; ordered by its receipt instead."
    return event


def parse_payload(payload: object, text: str) -> EventData:
    """Return the event in a payload; `text` is its stored form.

    Raises:
        EventRejected: `payload_too_large`, `payload_undecodable`, `payload_not_json` or `payload_invalid`.
    """
    if (size := _size(_text(payload))) > MAX_PAYLOAD_BYTES:
        message = f"The message has {size} bytes; at most {MAX_PAYLOAD_BYTES} are accepted. Send less data."
        raise EventRejected("payload_too_large", message)
    if isinstance(payload, Unreadable):
        raise EventRejected("payload_undecodable", f"The message cannot be decoded: {shortened(payload.why, MAX_WHY)}.")
    try:
        content = read_json(text)
        if isinstance(content, str):  # JSON text inside a JSON string
            content = read_json(content)
    except ValueError as error:
        raise EventRejected("payload_not_json", f"The message is not JSON: {error}.") from error
    if not isinstance(content, JsonObject):
        raise EventRejected("payload_not_json", f"The message is a JSON {type(content).__name__}, not an object.")
    if repeated := sorted({"exec", *ACCOUNT_KEYS}.intersection(content.repeated)):
        raise EventRejected("payload_invalid", f"The message is not a valid event: it repeats {', '.join(repeated)}.")
    try:
        return EventData.model_validate(content)
    except ValidationError as error:
        problems = "; ".join(problem_sentences(error.errors(), "message"))
        raise EventRejected("payload_invalid", f"The message is not a valid event: {problems}.") from error


def parse_command(value: str) -> ExecCommand:
    """Return the command of an event's `exec`.

    Raises:
        EventRejected: `unknown_exec`.
    """
    try:
        return ExecCommand(value)
    except ValueError as error:
        message = f"exec is {value!r}; allowed are `rebalance` and `print-rebalance`."
        raise EventRejected("unknown_exec", message) from error


def storable(text: str) -> str:
    """Return the text without characters that a database rejects: NUL and unpaired surrogates."""
    return text.encode("utf-8", "replace").decode().replace("\x00", "\N{REPLACEMENT CHARACTER}")


def text_and_digest(payload: object) -> tuple[str, str]:
    """Return the payload as it is stored, and the digest that identifies its content."""
    text = _text(payload)
    return text, hashlib.sha256(text.encode()).hexdigest()


def _text(payload: object) -> str:
    content = payload.content if isinstance(payload, Unreadable) else payload
    return storable(content if isinstance(content, str) else json.dumps(content, default=str))


def _size(text: str) -> int:
    return len(text.encode())


def is_too_large(payload: object) -> bool:
    """Return whether the payload exceeds `MAX_PAYLOAD_BYTES`, so that only its beginning is stored."""
    return _size(_text(payload)) > MAX_PAYLOAD_BYTES


def stored_id(message_id: str) -> str:
    """Return the id as it is stored. Of an id that is too long: its beginning and its digest."""
    message_id = storable(message_id)
    if len(message_id) <= MAX_MESSAGE_ID:
        return message_id
    return f"{message_id[:80]}~{hashlib.sha256(message_id.encode()).hexdigest()}"


def conflict_id(message_id: str, digest: str) -> str:
    """Return the id under which a message is stored whose id belongs to a message with different content."""
    return f"{message_id[:140]}#{digest[:12]}"


def known_messages(source: EventSource, channel: str, messages: Sequence[tuple[str, object]]) -> set[int]:
    """Return the indexes of the messages (pairs of id and payload) that are stored already with the same content."""
    keys = [(stored_id(message_id), text_and_digest(payload)[1]) for message_id, payload in messages]
    ids = {message_id for message_id, _ in keys} | {conflict_id(*key) for key in keys}
    stored = StrategyEvent.objects.filter(source=source, channel=channel, message_id__in=ids)
    digests = dict(stored.values_list("message_id", "payload_digest"))
    return {
        index
        for index, (message_id, digest) in enumerate(keys)
        if digest in {digests.get(message_id), digests.get(conflict_id(message_id, digest))}
    }


def store_duplicate(known: StrategyEvent, event: StrategyEvent) -> StrategyEvent:
    """Count a repeated message id; with different content, store the event separately and reject it."""
    StrategyEvent.objects.filter(pk=known.pk).update(duplicates=F("duplicates") + 1)
    if known.payload_digest == event.payload_digest:
        known.refresh_from_db()
        return known
    event.pk = None
    event.message_id = conflict_id(event.message_id, event.payload_digest)
    event.state, event.reason_code = EventState.REJECTED, "conflicting_duplicate"
    event.reason = f"Event {known.pk} has the same message id and different content. This event is not executed."
    try:
        with transaction.atomic():
            event.save(force_insert=True)
            notify_event_not_accepted(event)
    except IntegrityError:  # the same conflict was received before
        return StrategyEvent.objects.get(source=event.source, channel=event.channel, message_id=event.message_id)
    return event
