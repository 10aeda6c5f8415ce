"""The market-open job: starts what is due, says what was missed, and takes failures up again as the policy says.

Whoever calls it only wakes it. Each entry is claimed by one guarded UPDATE, and its event has the entry's key as
message id, so that any number of clusters start one run.
"""

import logging
from datetime import datetime, timedelta

from django.conf import settings
from django.db import DatabaseError, transaction

from accounts.models import Account
from accounts.policies import FrozenPolicy, resolve_policy
from brokers.exchange_calendar import NEW_YORK
from trading.errors import IllegalTransition
from trading.guards.account import MAX_LATENESS
from trading.inbox.receive import receive_event
from trading.journal import schedule
from trading.journal.claims import requeue
from trading.journal.runs import defer_again, supersede
from trading.models import EventSource, RunState, ScheduleEntry, ScheduleOrigin, ScheduleState
from trading.models.run_documents import ExecCommand
from trading.queue.wake import wake_slot
from trading.schedule.entries import place_at_next_open

logger = logging.getLogger("rebalancer.trading")

ON_TIME = timedelta(minutes=2)
"""A start within this is not late: hints and workers take their time."""
RETRIED = (RunState.FAILED, RunState.REFUSED)
"""Ends after which another try is safe; a run that needs attention waits for a person."""


def run_schedule(now: datetime) -> int:
    """Starts what is due and follows up what went wrong.

    Returns:
        How many runs were started.
    """
    started = 0
    waiting = ScheduleEntry.objects.filter(state=ScheduleState.WAITING, due_at__lte=now)
    for entry in waiting.select_related("account__strategy", "account__policy", "run").order_by("due_at", "id"):
        if not settings.SCHEDULER_ENABLED and entry.origin != ScheduleOrigin.DEFERRED:
            continue
        try:
            started += _start_or_miss(entry, now)
        except DatabaseError:
            raise
        except Exception:  # the others start, and this one says that it did not
            logger.exception("The schedule entry %s broke", entry.key)
            schedule.mark_failed(entry, "It could not be started; the log has the details.")
    follow_up(now)
    return started


def _start_or_miss(entry: ScheduleEntry, now: datetime) -> bool:
    policy = resolve_policy(entry.account)
    if now - entry.due_at > allowed_delay(policy):
        schedule.mark_missed(entry, _missed_words(entry, policy))
        return False
    return _start(entry)


def allowed_delay(policy: FrozenPolicy) -> timedelta:
    """How late a scheduled run may start."""
    return MAX_LATENESS if policy.missed_schedule == "run_late" else ON_TIME


def _missed_words(entry: ScheduleEntry, policy: FrozenPolicy) -> str:
    at = f"{entry.due_at.astimezone(NEW_YORK):%a %Y-%m-%d %H:%M} New York time"
    minutes = allowed_delay(policy).total_seconds() / 60
    return f"Nothing could start it at {at}, nor within {minutes:.0f} minutes after. Nothing was sent."


def _start(entry: ScheduleEntry) -> bool:
    """Takes the entry up and queues its run, both or neither."""
    with transaction.atomic():
        if not schedule.start_entry(entry):
            return False
        if entry.run is not None and entry.run.state == RunState.DEFERRED:
            return _requeue(entry)
        event = receive_event(
            source=EventSource.SCHEDULE,
            channel="",
            message_id=entry.key,
            payload={
                "exec": str(ExecCommand.REBALANCE),
                "account_id": entry.account.account_id,
                "event_id": entry.key,
            },
            requested_by=entry.requested_by,
        )
        run = event.runs.select_related("account").first()
        if run is None:
            schedule.mark_failed(entry, event.reason)
            return False
        schedule.attach_run(entry, run)
    logger.info("Scheduled run %s of %s started", run.run_id, entry.account.account_id)
    return True


def _requeue(entry: ScheduleEntry) -> bool:
    if entry.run is None:
        raise AssertionError  # looked at by the caller
    if requeue(entry.run):
        wake_slot(entry.run.connection_id)
        return True
    return False


def follow_up(now: datetime) -> None:
    """Puts what was missed or has failed at the next open, as far as the policy says so."""
    for entry in ScheduleEntry.open_entries().filter(state__in=(ScheduleState.FAILED, ScheduleState.MISSED)):
        policy = resolve_policy(entry.account)
        if entry.state == ScheduleState.MISSED:
            _after_missed(entry, policy, now)
        elif entry.attempt <= policy.schedule_retries and (entry.run is None or entry.run.state in RETRIED):
            reason = f"Try {entry.attempt + 1} of {policy.schedule_retries + 1}: {entry.message}"
            _again(entry, now, ScheduleOrigin.RETRY, entry.attempt + 1, reason)


def _after_missed(entry: ScheduleEntry, policy: FrozenPolicy, now: datetime) -> None:
    deferred = entry.run is not None and entry.run.state == RunState.DEFERRED
    if policy.missed_schedule != "skip":
        _again(entry, now, ScheduleOrigin.MISSED, entry.attempt, f"Missed before: {entry.message}")
    elif deferred and entry.run is not None:
        with transaction.atomic():
            supersede(entry.run.pk, entry.message)


def _again(entry: ScheduleEntry, now: datetime, origin: ScheduleOrigin, attempt: int, reason: str) -> None:
    account: Account = entry.account
    with transaction.atomic():
        following = place_at_next_open(
            account, now, origin, requested_by=entry.requested_by, attempt=attempt, message=reason
        )
        at = f"{following.due_at.astimezone(NEW_YORK):%a %Y-%m-%d %H:%M} New York time"
        if entry.run is not None and entry.run.state == RunState.DEFERRED:
            try:
                defer_again(entry.run, following.due_at)
            except IllegalTransition:
                return  # taken up by somebody else
            schedule.attach_deferred_run(following, entry.run)
        schedule.set_follow_up(entry, following, f"{entry.message} It starts again on {at}.")
