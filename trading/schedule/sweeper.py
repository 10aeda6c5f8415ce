"""Wakes what was missed: hints get lost, workers die, times come. Safe to run anywhere, any number of times."""

import logging
import socket
from datetime import timedelta

from django.db import DatabaseError
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from accounts.models import BrokerConnection
from trading.common.clock import MAX_SKEW_SECONDS, skew_seconds
from trading.journal.claims import requeue_due_runs
from trading.journal.outbox import notify_operators
from trading.market_calendar import market_calendar
from trading.models import (
    Delivery,
    DeliveryState,
    NotificationKind,
    ProcessHeartbeat,
    RunState,
)
from trading.queue.wake import wake_outbox, wake_slot
from trading.schedule.cadence import plan_cadences
from trading.schedule.drift import follow_checks, start_checks
from trading.schedule.market_open import run_schedule
from trading.schedule.readiness import wake_due_probes

logger = logging.getLogger("rebalancer.trading")

ALARM_QUIET = timedelta(hours=1)


def sweep() -> int:
    """Wakes each slot with unfinished runs and no live lease, and the outbox if messages are due.

    Returns:
        How many slots were woken.
    """
    watch_clocks()
    try:
        run_calendar()
    except DatabaseError:
        raise
    except Exception:  # whatever is wrong with the calendar, runs that are there go on
        logger.exception("The schedule could not be worked")
    requeue_due_runs()
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
    if Delivery.objects.filter(state=DeliveryState.PENDING, next_attempt_at__lte=Now()).exists():
        wake_outbox()
    return len(slots)


def watch_clocks() -> float:
    """Raises the alarm when this host's clock is not the database's.

    Returns:
        The seconds by which they differ.
    """
    skew = skew_seconds() or 0.0
    if skew > MAX_SKEW_SECONDS:
        host = socket.gethostname()
        logger.critical("The clock of %s differs from the database's by %.1f s", host, skew)
        notify_operators(
            NotificationKind.FAILURE,
            f"Clock of {host} is wrong",
            f"It differs from the database's by {skew:.1f} s. Leases are safe, since they go by the database's clock; "
            "sessions, quotes and schedules go by the host's. Set it by NTP.",
            quiet=ALARM_QUIET,
        )
    return skew


def run_calendar() -> int:
    """Starts what the calendar says is due: scheduled accounts, cadences, drift checks.

    Returns:
        How many scheduled runs were started.
    """
    now, calendar = timezone.now(), market_calendar()
    plan_cadences(now, calendar)
    wake_due_probes(now)
    started = run_schedule(now)
    start_checks(now, calendar)
    follow_checks(now)
    return started


def beat(name: str, kind: str, **details: object) -> None:
    """A sign of life of a long-running process."""
    ProcessHeartbeat.objects.update_or_create(
        name=name, defaults={"kind": kind, "at": timezone.now(), "details": details}
    )
