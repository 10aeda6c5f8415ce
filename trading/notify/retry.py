"""Rows of an outbox that are sent again, later each time."""

from datetime import timedelta

from django.db.models import F
from django.utils import timezone

from trading.models import Notification, NotificationState, WebhookDelivery

MAX_ATTEMPTS = 12
MAX_WAIT_SECONDS = 3600


def claim(row: Notification | WebhookDelivery) -> bool:
    """Takes a row that is due, by moving its time on, so that two processes do not send it twice."""
    wait = min(5 * 2**row.attempts, MAX_WAIT_SECONDS)
    pending = type(row)._default_manager.filter(  # noqa: SLF001 - Django's name for it
        pk=row.pk, state=NotificationState.PENDING, attempts=row.attempts
    )
    return bool(pending.update(attempts=F("attempts") + 1, next_attempt_at=timezone.now() + timedelta(seconds=wait)))


def is_last_attempt(row: Notification | WebhookDelivery) -> bool:
    """Whether the attempt that was claimed is the last one."""
    return row.attempts + 1 >= MAX_ATTEMPTS
