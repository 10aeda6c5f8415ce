"""The market-open job: start due entries, report missed ones, and retry failures as the policy specifies.

The job can run at any time and in any number of processes: each entry is claimed by one guarded UPDATE, and its event
has the entry's key as its message id, so that only one run starts.
"""

import logging
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import DatabaseError, transaction

from accounts.models.account import FOLLOWED_STRATEGY
from accounts.policies import resolve_policy
from trading.access.two_factor import mark_verified
from trading.common.formats import new_york_time
from trading.errors import IllegalTransition
from trading.guards.account import MAX_LATENESS
from trading.journal import schedule
from trading.journal.claims import requeue
from trading.journal.runs import defer_again, supersede
from trading.models import RunState, ScheduleEntry, ScheduleOrigin, ScheduleState
from trading.models.run_documents import ExecCommand
from trading.queue.wake import wake_slot
from trading.schedule.entries import add_at_next_open
from trading.schedule.events import create_event

logger = logging.getLogger("rebalancer.trading")

ON_TIME = timedelta(minutes=2)
"""Maximum delay of a start that counts as on time. Hints and workers need some time."""
RETRIED = (RunState.FAILED, RunState.REFUSED)
"""Final states after which a retry is safe. A run that needs attention waits for an operator."""
NEVER_RETRIED = {"requester_rights", "strategy_changed", "approval_outdated"}
"""Codes of refusals after which only a new request helps."""


def run_schedule(now: datetime) -> int:
    """Start the due entries, then reschedule missed and failed ones. Return the number of started runs."""
    started = 0
    waiting = ScheduleEntry.objects.filter(state=ScheduleState.WAITING, due_at__lte=now)
    for entry in waiting.select_related(f"account__{FOLLOWED_STRATEGY}", "account__policy", "run").order_by(
        "due_at", "id"
    ):
        if not settings.SCHEDULER_ENABLED and entry.origin != ScheduleOrigin.DEFERRED:
            continue
        try:
            started += _start_or_mark_missed(entry, now)
        except DatabaseError:
            raise
        except Exception:  # one entry must not stop the others; its failure is recorded
            logger.exception("Unexpected error while starting the schedule entry %s", entry.key)
            schedule.mark_failed(entry, "It could not be started. See the log.")
    reschedule_entries(now)
    return started


def _start_or_mark_missed(entry: ScheduleEntry, now: datetime) -> bool:
    policy = resolve_policy(entry.account)
    delay = MAX_LATENESS if policy.missed_schedule == "run_late" else ON_TIME
    if now - entry.due_at <= delay:
        return _start(entry)
    minutes = delay // timedelta(minutes=1)
    start = new_york_time(entry.due_at)
    schedule.mark_missed(entry, f"It was due on {start} and did not start within {minutes} minutes. Nothing was sent.")
    return False


def _start(entry: ScheduleEntry) -> bool:
    """Mark the entry as started and queue its run, both or neither."""
    with transaction.atomic():
        if not schedule.start_entry(entry):
            return False
        if entry.run is not None and entry.run.state == RunState.DEFERRED:
            requeued = requeue(entry.run)
            if requeued:
                wake_slot(entry.run.connection_id)
            return requeued
        if _requester_is_gone(entry):
            schedule.mark_failed(
                entry, f"{entry.requester_name}, who scheduled it, no longer exists. Schedule it again."
            )
            return False
        if entry.requested_by is not None and entry.requester_verified:
            mark_verified(entry.requested_by)  # when the account was scheduled
        event = create_event(entry.key, ExecCommand.REBALANCE, account=entry.account, requested_by=entry.requested_by)
        run = event.runs.select_related("account").first()
        if run is None:
            schedule.mark_failed(entry, event.reason)
            return False
        schedule.attach_run(entry, run)
    logger.info("Scheduled run %s of %s started", run.run_id, entry.account.account_id)
    return True


def _requester_of(entry: ScheduleEntry) -> dict[str, Any]:
    return {name: getattr(entry, name) for name in schedule.NO_REQUESTER}


def reschedule_entries(now: datetime) -> None:
    """Schedule missed and failed entries for the next open, as far as their policies allow."""
    for entry in ScheduleEntry.open_entries().filter(state__in=(ScheduleState.FAILED, ScheduleState.MISSED)):
        policy = resolve_policy(entry.account)
        if entry.state == ScheduleState.MISSED:
            if policy.missed_schedule != "skip":
                _reschedule(entry, now, ScheduleOrigin.MISSED, entry.attempt, f"Missed before: {entry.message}")
            elif entry.run is not None and entry.run.state == RunState.DEFERRED:
                with transaction.atomic():
                    supersede(entry.run.pk, entry.message)
        elif entry.attempt <= policy.schedule_retries and _can_be_retried(entry):
            message = f"Attempt {entry.attempt + 1} of {policy.schedule_retries + 1}: {entry.message}"
            _reschedule(entry, now, ScheduleOrigin.RETRY, entry.attempt + 1, message)


def _can_be_retried(entry: ScheduleEntry) -> bool:
    if entry.run is None:
        return not _requester_is_gone(entry)
    return entry.run.state in RETRIED and entry.run.error_code not in NEVER_RETRIED


def _requester_is_gone(entry: ScheduleEntry) -> bool:
    return entry.requester_name != "" and entry.requested_by is None


def _reschedule(entry: ScheduleEntry, now: datetime, origin: ScheduleOrigin, attempt: int, message: str) -> None:
    with transaction.atomic():
        follow_up = add_at_next_open(
            entry.account, now, origin, requester=_requester_of(entry), attempt=attempt, message=message
        )
        if entry.run is not None and entry.run.state == RunState.DEFERRED:
            try:
                defer_again(entry.run, follow_up.due_at)
            except IllegalTransition:
                return  # another process has started it
            schedule.attach_deferred_run(follow_up, entry.run)
        start = new_york_time(follow_up.due_at)
        schedule.set_follow_up(entry, follow_up, f"{entry.message} It is scheduled again for {start}.")
