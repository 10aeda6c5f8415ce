"""Events whose processing failed with an unexpected error of ours. They are kept as received, and processed again."""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from django.db import DatabaseError, IntegrityError, transaction
from django.db.models.functions import Now

from trading.common.clock import database_now
from trading.inbox.payload import MAX_PAYLOAD_BYTES, is_too_large, new_event, store_duplicate
from trading.journal.outbox import notify_event_not_accepted, notify_operators
from trading.models import EventSource, EventState, NotificationKind, StrategyEvent
from trading.models.run_documents import Unreadable

logger = logging.getLogger("rebalancer.trading")

MAX_ATTEMPTS = 10
"""Number of automatic attempts; after these only the same message, received again, is processed."""
FIRST_WAIT = timedelta(seconds=15)
"""Wait before the second attempt. It doubles with each attempt."""
LONGEST_WAIT = timedelta(minutes=10)
UNDECODABLE = "payload_undecodable"
"""Code of an event whose payload could not be decoded; it is stored so that no later attempt acts on its text."""


def store_broken_event(
    *, source: EventSource, channel: str, message_id: str, payload: object, published_at: datetime, serial: str
) -> StrategyEvent:
    """Store a message whose processing failed, with its own digest, and notify operators.

    Raises:
        DatabaseError: it cannot be stored either. Keep the message and try again.
    """
    event = new_event(source, channel, message_id, payload, published_at, serial)
    event.state, event.reason_code = EventState.BROKEN, "internal_error"
    event.reason = "Unexpected error; see the log. It will be processed again."
    if isinstance(payload, Unreadable):
        event.reason_code, event.reason = UNDECODABLE, payload.why
    event.failures, event.next_attempt_at = 1, database_now() + FIRST_WAIT
    if is_too_large(payload):  # stored in part only
        event.state, event.reason_code, event.next_attempt_at = EventState.REJECTED, "payload_too_large", None
        event.reason = f"The message has more than {MAX_PAYLOAD_BYTES} bytes. Send less data."
    try:
        with transaction.atomic():
            event.save()
    except IntegrityError:
        known = StrategyEvent.objects.filter(source=source, channel=event.channel, message_id=event.message_id).first()
        if known is None:
            raise
        return store_duplicate(known, event)
    _notify(lambda: notify_event_not_accepted(event))
    return event


def stored_payload(event: StrategyEvent) -> object:
    """Return the payload of a stored event, as it was received."""
    return Unreadable(content=event.payload, why=event.reason) if event.reason_code == UNDECODABLE else event.payload


def due_events() -> list[int]:
    """Return the keys of the broken events whose next attempt is due, oldest first."""
    due = StrategyEvent.objects.filter(state=EventState.BROKEN, next_attempt_at__lte=Now())
    return list(due.order_by("published_at", "id").values_list("pk", flat=True))


def record_failure(pk: int) -> StrategyEvent:
    """Count a failed attempt and set the time of the next; after the last one, notify operators."""
    with transaction.atomic():
        event = StrategyEvent.objects.select_for_update().get(pk=pk)
        event.failures += 1
        wait = min(FIRST_WAIT * 2 ** (event.failures - 1), LONGEST_WAIT)
        event.next_attempt_at = database_now() + wait if event.failures < MAX_ATTEMPTS else None
        event.save(update_fields=["failures", "next_attempt_at"])
    if event.failures == MAX_ATTEMPTS:
        _notify(
            lambda: notify_operators(
                NotificationKind.FAILURE,
                f"Event {event.pk} of {event.channel or 'no strategy'} was not processed",
                f"{MAX_ATTEMPTS} attempts failed with an unexpected error; see the log. Correct the cause, then publish"
                f" the message {event.message_id} again.",
            )
        )
    return event


def _notify(write: Callable[[], object]) -> None:
    try:
        with transaction.atomic():
            write()
    except DatabaseError:  # the event is stored, and that must not depend on the outbox
        logger.exception("The notification could not be written")
