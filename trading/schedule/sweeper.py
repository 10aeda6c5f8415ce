"""Start work that was missed: hints can be lost, workers can die, and times come. Safe to run anywhere, at any rate."""

import logging
import socket
from datetime import timedelta

from django.db import DatabaseError
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from accounts.models import BrokerConnection
from trading.actions.approvals import close_expired_approvals
from trading.common.clock import MAX_SKEW_SECONDS, skew_seconds
from trading.inbox.broken_events import due_events
from trading.inbox.receive import retry_event
from trading.journal.claims import requeue_due_runs
from trading.journal.installation import detect_restore
from trading.journal.missing_outcomes import write_missing_outcomes
from trading.journal.outbox import notify_operators
from trading.journal.slots import move_accounts_to_their_slots
from trading.market_calendar import market_calendar
from trading.models import Delivery, DeliveryState, NotificationKind, ProcessHeartbeat, RunState
from trading.queue.schedules import are_complete, sync_schedules
from trading.queue.wake import wake_outbox, wake_slot
from trading.schedule.cadence import plan_cadences
from trading.schedule.drift import rebalance_drifted_accounts, start_drift_checks
from trading.schedule.market_open import run_schedule
from trading.schedule.readiness import wake_due_probes

logger = logging.getLogger("rebalancer.trading")

ALERT_INTERVAL = timedelta(hours=1)
"""Minimum time between two notifications about the clock of a host."""


def sweep() -> int:
    """Wake slots with unfinished runs and no live lease (return their number), and start all other work that is due."""
    check_clock()
    detect_restore()
    move_accounts_to_their_slots()
    try:
        run_calendar()
    except DatabaseError:
        raise
    except Exception:  # an error in the schedule must not stop runs that exist
        logger.exception("Unexpected error in the schedule")
    requeue_due_runs()
    queued = Q(
        Q(accounts__runs__not_before__isnull=True) | Q(accounts__runs__not_before__lte=Now()),
        accounts__runs__state=RunState.QUEUED,
    )
    free = BrokerConnection.objects.filter(Q(lease_until__isnull=True) | Q(lease_until__lt=Now()))
    slots = {
        pk
        for unfinished in (queued, Q(runs__state=RunState.RUNNING))
        for pk in free.filter(unfinished).values_list("pk", flat=True)
    }
    for connection_id in sorted(slots):
        wake_slot(connection_id)
    for pk in due_events():
        retry_event(pk)
    if not are_complete():
        sync_schedules()
    _close_expired_approvals()
    if Delivery.objects.filter(state=DeliveryState.PENDING, next_attempt_at__lte=Now()).exists():
        wake_outbox()
    write_missing_outcomes()
    return len(slots)


def _close_expired_approvals() -> None:
    """Close the plans that nobody answered in time. After the wake-ups: it can wait for an account that is in use."""
    try:
        close_expired_approvals(timezone.now())
    except DatabaseError:
        raise
    except Exception:  # the next sweep tries again; runs must not wait for it
        logger.exception("Plans that nobody answered could not be closed")


def check_clock() -> float:
    """Notify operators if the clocks of this host and the database differ. Return the difference in seconds."""
    skew = skew_seconds() or 0.0
    if skew > MAX_SKEW_SECONDS:
        host = socket.gethostname()
        logger.critical("The clock of %s differs from the database's by %.1f s", host, skew)
        notify_operators(
            NotificationKind.FAILURE,
            f"Clock of {host} is wrong",
            f"It differs from the clock of the database by {skew:.1f} s. Sessions, quotes and schedules use the clock "
            "of the host; leases use the clock of the database and are not affected. Synchronize the host with NTP.",
            min_interval=ALERT_INTERVAL,
        )
    return skew


def run_calendar() -> int:
    """Start what is due: scheduled accounts (return their number), cadences, drift checks and readiness probes."""
    now, calendar = timezone.now(), market_calendar()
    plan_cadences(now, calendar)
    wake_due_probes(now)
    started = run_schedule(now)
    start_drift_checks(now, calendar)
    rebalance_drifted_accounts(now)
    return started


def record_heartbeat(name: str, kind: str, **details: object) -> None:
    """Store the heartbeat of a long-running process."""
    row = {"kind": kind, "at": timezone.now(), "details": details}
    ProcessHeartbeat.objects.update_or_create(name=name, defaults=row)
