"""The schedule's rows. An entry has a key of account and session, so that whoever fires it starts one run."""

from datetime import date, datetime, timedelta
from typing import Any

from django.contrib.auth.models import User
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
"""Code of a scheduled run that nobody took up in time."""
TAKEN_BACK_SECONDS = 120
"""A job whose process has been silent for so long may be done by another."""

STATE_AFTER = {RunState.COMPLETED: ScheduleState.COMPLETED, RunState.SUPERSEDED: ScheduleState.SUPERSEDED}
"""What the end of its run makes of an entry; any other end is a failure."""


def entry_key(account: Account, session_date: date) -> str:
    """The key under which an account starts at a session's open, once."""
    return f"open:{account.account_id}:{session_date}"


def add_entry(
    account: Account,
    session_date: date,
    due_at: datetime,
    origin: ScheduleOrigin,
    *,
    run: RebalanceRun | None = None,
    requested_by: User | None = None,
    attempt: int = 1,
    message: str = "",
) -> ScheduleEntry | None:
    """Puts the account on the schedule of a session; one that waits for it already stays as it is, with the run.

    Returns:
        The entry that waits; None when the session's entry has been started before.
    """
    fields: dict[str, Any] = {
        "origin": origin,
        "due_at": due_at,
        "run": run,
        "requested_by": requested_by,
        "attempt": attempt,
        "message": message,
    }
    with transaction.atomic():
        entry, new = ScheduleEntry.objects.get_or_create(
            key=entry_key(account, session_date), defaults={"account": account, "session_date": session_date} | fields
        )
        if new:
            return entry
        same = ScheduleEntry.objects.filter(pk=entry.pk)
        waiting = same.filter(state=ScheduleState.WAITING)
        if waiting.exists():
            if run is not None:
                waiting.update(run=run, due_at=max(entry.due_at, due_at))
        elif not same.filter(started_at__isnull=True).update(
            state=ScheduleState.WAITING, finished_at=None, follow_up=None, **fields
        ):
            return None
    entry.refresh_from_db()
    return entry


def start_entry(entry: ScheduleEntry) -> bool:
    """Takes the entry up, if nobody else has."""
    waiting = ScheduleEntry.objects.filter(pk=entry.pk, state=ScheduleState.WAITING, due_at=entry.due_at)
    return bool(waiting.update(state=ScheduleState.STARTED, started_at=Now()))


def remove_entry(entry: ScheduleEntry, message: str) -> bool:
    """Takes an entry off the schedule that waits, or that went wrong and has been seen by somebody."""
    off = ScheduleEntry.objects.filter(
        pk=entry.pk, state__in=(ScheduleState.WAITING, ScheduleState.FAILED, ScheduleState.MISSED)
    )
    return bool(off.update(state=ScheduleState.REMOVED, finished_at=Now(), message=message))


def mark_missed(entry: ScheduleEntry, message: str) -> bool:
    """Notes that the entry's time has passed, and tells it, if nobody else has."""
    with transaction.atomic():
        waiting = ScheduleEntry.objects.filter(pk=entry.pk, state=ScheduleState.WAITING, due_at=entry.due_at)
        if not waiting.update(state=ScheduleState.MISSED, finished_at=Now(), message=message):
            return False
        notify("Scheduled rebalance missed", entry.account, message)
    return True


def set_follow_up(entry: ScheduleEntry, follow_up: ScheduleEntry, message: str) -> None:
    """Notes what an entry that went wrong is followed by, and tells it."""
    with transaction.atomic():
        if ScheduleEntry.objects.filter(pk=entry.pk, follow_up__isnull=True).update(follow_up=follow_up):
            notify("Scheduled again", entry.account, message)


def mark_failed(entry: ScheduleEntry, message: str) -> None:
    """Notes that an entry could not even make a run."""
    with transaction.atomic():
        started = ScheduleEntry.objects.filter(
            pk=entry.pk, state__in=(ScheduleState.WAITING, ScheduleState.STARTED), run__isnull=True
        )
        if started.update(state=ScheduleState.FAILED, finished_at=Now(), message=message):
            notify("Scheduled rebalance failed", entry.account, message)


def attach_run(entry: ScheduleEntry, run: RebalanceRun) -> None:
    """Ties a started entry to its run; a run that has ended already ends the entry too."""
    ScheduleEntry.objects.filter(pk=entry.pk, state=ScheduleState.STARTED).update(run=run)
    if run.is_finished:
        on_run_ended(run)


def attach_deferred_run(entry: ScheduleEntry, run: RebalanceRun) -> None:
    """Ties a waiting entry to a run that was put aside until then."""
    ScheduleEntry.objects.filter(pk=entry.pk).update(run=run)


def on_run_ended(run: RebalanceRun) -> None:
    """Brings the entries of a run to its end. In the transaction that ends the run."""
    mine = ScheduleEntry.objects.filter(run=run)
    state = STATE_AFTER.get(RunState(run.state), ScheduleState.FAILED)
    if run.error_code == LATE:
        state = ScheduleState.MISSED
    mine.filter(state=ScheduleState.STARTED).update(
        state=state, finished_at=Now(), message=run.error_message or F("message")
    )
    if run.state == RunState.SUPERSEDED:
        waiting = mine.filter(state=ScheduleState.WAITING)
        # What was there for the run alone goes with it; what somebody has asked for stays.
        waiting.exclude(origin=ScheduleOrigin.DEFERRED).update(run=None)
        waiting.filter(origin=ScheduleOrigin.DEFERRED).update(state=ScheduleState.SUPERSEDED, finished_at=Now())


def on_run_deferred(run: RebalanceRun, not_before: datetime, message: str) -> None:
    """Schedules a run that a guard has put aside. In the transaction that defers it."""
    day = not_before.astimezone(NEW_YORK).date()
    entry = add_entry(run.account, day, not_before, ScheduleOrigin.DEFERRED, run=run, message=message)
    if entry is not None:
        before = ScheduleEntry.objects.filter(run=run, state=ScheduleState.STARTED)
        before.exclude(pk=entry.pk).update(
            state=ScheduleState.MOVED, finished_at=Now(), follow_up=entry, message=message
        )


def notify(title: str, account: Account, body: str, kind: NotificationKind = NotificationKind.WARNING) -> None:
    """Writes a message about an account's schedule into the outbox."""
    notify_operators(kind, f"{title}: {account.display_name}", body)


def claim_job(key: str, kind: ScheduledJob.Kind, session_date: date, due_at: datetime) -> ScheduledJob | None:
    """Takes up something that is done once for a session.

    Returns:
        The job; None when it is done, or another process does it.
    """
    try:
        with transaction.atomic():
            return ScheduledJob.objects.create(
                key=key, kind=kind, session_date=session_date, due_at=due_at, started_at=Now()
            )
    except IntegrityError:
        silent = Q(started_at__isnull=True) | Q(started_at__lt=Now() - timedelta(seconds=TAKEN_BACK_SECONDS))
        mine = ScheduledJob.objects.filter(silent, key=key, finished_at__isnull=True)
        return ScheduledJob.objects.get(key=key) if mine.update(started_at=Now()) else None


def finish_job(job: ScheduledJob, *, succeeded: bool, outcome: str) -> None:
    """Notes what came of a job."""
    ScheduledJob.objects.filter(pk=job.pk).update(succeeded=succeeded, outcome=outcome, finished_at=Now())


def release_job(job: ScheduledJob) -> None:
    """Leaves a job to whoever looks next."""
    ScheduledJob.objects.filter(pk=job.pk, finished_at__isnull=True).update(started_at=None)
