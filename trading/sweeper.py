"""Wakes what was missed: hints get lost, workers die, times come. Safe to run anywhere, any number of times."""

from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from accounts.models import BrokerConnection
from trading.journal.runs import requeue_due
from trading.models import Notification, NotificationState, ProcessHeartbeat, RunState
from trading.wake import wake_outbox, wake_slot


def sweep() -> int:
    """Wakes each slot with unfinished runs and no live lease, and the outbox if messages are due.

    Returns:
        How many slots were woken.
    """
    requeue_due()
    free = Q(lease_until__isnull=True) | Q(lease_until__lt=Now())
    queued = Q(
        Q(accounts__runs__not_before__isnull=True) | Q(accounts__runs__not_before__lte=Now()),
        accounts__runs__state=RunState.QUEUED,
    )
    left_behind = Q(runs__state=RunState.RUNNING)
    slots = set(BrokerConnection.objects.filter(free).filter(queued).values_list("pk", flat=True))
    slots |= set(BrokerConnection.objects.filter(free).filter(left_behind).values_list("pk", flat=True))
    for connection_id in sorted(slots):
        wake_slot(connection_id)
    if Notification.objects.filter(state=NotificationState.PENDING, next_attempt_at__lte=Now()).exists():
        wake_outbox()
    return len(slots)


def beat(name: str, kind: str, **details: object) -> None:
    """A sign of life of a long-running process."""
    ProcessHeartbeat.objects.update_or_create(
        name=name, defaults={"kind": kind, "at": timezone.now(), "details": details}
    )
