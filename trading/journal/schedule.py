"""Write the schedule. The key of an entry is its account and session, so that it starts at most one run."""

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from types import MappingProxyType
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import F, Q
from django.db.models.functions import Now

from accounts.models import Account
from brokers.exchange_calendar import NEW_YORK
from trading.journal.outbox import notify_operators
from trading.models import (
    NotificationKind,
    RebalanceRun,
    RunState,
    ScheduledJob,
    ScheduleEntry,
    ScheduleOrigin,
    ScheduleState,
)

LATE = "schedule_late"
"""Code of a scheduled run that no worker started in time."""
JOB_TIMEOUT_SECONDS = 120
"""Time after which another process may claim a job that was started and not finished, in seconds."""

NO_REQUESTER = {"requested_by": None, "requester_name": "", "requester_verified": False}
"""Fields of an entry that no user requested."""

WAITING, STARTED = ScheduleState.WAITING, ScheduleState.STARTED
STATE_AFTER = {RunState.COMPLETED: ScheduleState.COMPLETED, RunState.SUPERSEDED: ScheduleState.SUPERSEDED}
"""State of an entry by the final state of its run; any other final state means failed."""


def entry_key(account: Account, session_date: date) -> str:
    """Return the unique key of an account's start at the open of a session."""
    return f"open:{account.account_id}:{session_date}"


def add_entry(
    account: Account,
    session_date: date,
    due_at: datetime,
    origin: ScheduleOrigin,
    *,
    run: RebalanceRun | None = None,
    requester: Mapping[str, Any] = MappingProxyType({}),
    attempt: int = 1,
    message: str = "",
) -> ScheduleEntry | None:
    """Schedule the account for a session; an entry that already waits for it is kept, and gets the run.

    `requester` has the fields of the entry that keep who requested it; without them, no user did.

    Returns:
        The waiting entry; None when the session's entry was started before.
    """
    fields: dict[str, Any] = {
        "origin": origin,
        "due_at": due_at,
        "run": run,
        "attempt": attempt,
        "message": message,
        **NO_REQUESTER,
        **requester,
    }
    with transaction.atomic():
        entry, new = ScheduleEntry.objects.get_or_create(
            key=entry_key(account, session_date), defaults={"account": account, "session_date": session_date} | fields
        )
        if new:
            return entry
        same = ScheduleEntry.objects.filter(pk=entry.pk)
        waiting = same.filter(state=WAITING)
        if waiting.exists():
            if run is not None:
                waiting.update(run=run, due_at=max(entry.due_at, due_at))
        elif not same.filter(started_at__isnull=True).update(state=WAITING, finished_at=None, follow_up=None, **fields):
            return None
    entry.refresh_from_db()
    return entry


def start_entry(entry: ScheduleEntry) -> bool:
    """Start a waiting entry; return whether this process was the one that started it."""
    waiting = ScheduleEntry.objects.filter(pk=entry.pk, state=WAITING, due_at=entry.due_at)
    return bool(waiting.update(state=STARTED, started_at=Now()))


def remove_entry(entry: ScheduleEntry, message: str) -> bool:
    """Remove a waiting, failed or missed entry from the schedule; return whether it was removed."""
    return _end(entry, ScheduleState.REMOVED, message, WAITING, ScheduleState.FAILED, ScheduleState.MISSED)


def mark_missed(entry: ScheduleEntry, message: str) -> bool:
    """Mark a waiting entry as missed and notify; return whether this process did it."""
    title = "Scheduled rebalance missed"
    return _end(entry, ScheduleState.MISSED, message, WAITING, title=title, due_at=entry.due_at)


def mark_failed(entry: ScheduleEntry, message: str) -> bool:
    """Mark an entry without a run as failed and notify; return whether this process did it."""
    title = "Scheduled rebalance failed"
    return _end(entry, ScheduleState.FAILED, message, WAITING, STARTED, title=title, run__isnull=True)


def _end(
    entry: ScheduleEntry, target: ScheduleState, message: str, *states: ScheduleState, title: str = "", **where: Any
) -> bool:
    """End an entry that is in one of the states, and notify if there is a title; return whether it was ended."""
    with transaction.atomic():
        present = ScheduleEntry.objects.filter(pk=entry.pk, state__in=states, **where)
        if not present.update(state=target, finished_at=Now(), message=message):
            return False
        if title:
            _notify(title, entry.account, message)
    return True


def set_follow_up(entry: ScheduleEntry, follow_up: ScheduleEntry, message: str) -> None:
    """Record the entry that follows a failed or missed one, and notify."""
    with transaction.atomic():
        if ScheduleEntry.objects.filter(pk=entry.pk, follow_up__isnull=True).update(follow_up=follow_up):
            _notify("Rebalance rescheduled", entry.account, message)


def attach_run(entry: ScheduleEntry, run: RebalanceRun) -> None:
    """Attach the run to a started entry; a run that has already ended ends the entry too."""
    ScheduleEntry.objects.filter(pk=entry.pk, state=STARTED).update(run=run)
    if run.is_finished:
        on_run_ended(run)


def attach_deferred_run(entry: ScheduleEntry, run: RebalanceRun) -> None:
    """Attach a deferred run to the entry that will continue it."""
    ScheduleEntry.objects.filter(pk=entry.pk).update(run=run)


def on_run_ended(run: RebalanceRun) -> None:
    """End the entries of a run that has ended; call this in the transaction that ends the run."""
    mine = ScheduleEntry.objects.filter(run=run)
    state = STATE_AFTER.get(RunState(run.state), ScheduleState.FAILED)
    if run.error_code == LATE:
        state = ScheduleState.MISSED
    mine.filter(state=STARTED).update(state=state, finished_at=Now(), message=run.error_message or F("message"))
    if run.state == RunState.SUPERSEDED:
        waiting = mine.filter(state=WAITING)
        # An entry that exists only because the run was deferred ends with it; a requested one stays.
        waiting.exclude(origin=ScheduleOrigin.DEFERRED).update(run=None)
        waiting.filter(origin=ScheduleOrigin.DEFERRED).update(state=ScheduleState.SUPERSEDED, finished_at=Now())


def on_run_deferred(run: RebalanceRun, not_before: datetime, message: str) -> None:
    """Schedule a run that a guard deferred; call this in the transaction that defers it."""
    day = not_before.astimezone(NEW_YORK).date()
    entry = add_entry(run.account, day, not_before, ScheduleOrigin.DEFERRED, run=run, message=message)
    if entry is not None:
        earlier = ScheduleEntry.objects.filter(run=run, state=STARTED)
        earlier.exclude(pk=entry.pk).update(
            state=ScheduleState.MOVED, finished_at=Now(), follow_up=entry, message=message
        )


def _notify(title: str, account: Account, body: str) -> None:
    notify_operators(NotificationKind.WARNING, f"{title}: {account.display_name}", body)


def claim_job(key: str, kind: ScheduledJob.Kind, session_date: date, due_at: datetime) -> ScheduledJob | None:
    """Claim a job that is done once per session; return None when it is finished or another process executes it."""
    try:
        with transaction.atomic():
            return ScheduledJob.objects.create(
                key=key, kind=kind, session_date=session_date, due_at=due_at, started_at=Now()
            )
    except IntegrityError:
        unclaimed = Q(started_at__isnull=True) | Q(started_at__lt=Now() - timedelta(seconds=JOB_TIMEOUT_SECONDS))
        mine = ScheduledJob.objects.filter(unclaimed, key=key, finished_at__isnull=True)
        return ScheduledJob.objects.get(key=key) if mine.update(started_at=Now()) else None


def finish_job(job: ScheduledJob, *, succeeded: bool, outcome: str) -> None:
    """Record the outcome of a job."""
    ScheduledJob.objects.filter(pk=job.pk).update(succeeded=succeeded, outcome=outcome, finished_at=Now())


def release_job(job: ScheduledJob) -> None:
    """Release a job, so that the next process can claim it."""
    ScheduledJob.objects.filter(pk=job.pk, finished_at__isnull=True).update(started_at=None)
