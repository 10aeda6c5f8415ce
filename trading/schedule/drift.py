"""Drift checks: preview the accounts of a strategy once a session, and rebalance only if the strategy requires it."""

from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction

from accounts.models import Strategy
from accounts.models.account import FOLLOWED_STRATEGY
from trading.common.formats import new_york_clock
from trading.guards.account import MAX_LATENESS
from trading.journal import schedule
from trading.journal.outbox import notify_operators
from trading.market_calendar import MarketCalendar
from trading.models import EventSource, NotificationKind, RebalanceRun, RunMode, RunState, ScheduledJob, StrategyEvent
from trading.models.run_documents import ExecCommand
from trading.planning.standing import compare_run
from trading.schedule.events import create_event

PREFIX = "drift:"


def start_drift_checks(now: datetime, calendar: MarketCalendar) -> None:
    """Request the previews of the checks that are due. A check that is too late is reported and skipped."""
    session = calendar.session_of(now)
    if not settings.SCHEDULER_ENABLED or not session.is_open_at(now):
        return
    for strategy in Strategy.objects.filter(enabled=True).exclude(drift_check=Strategy.DriftCheck.OFF):
        due_at = session.opens_at + timedelta(minutes=strategy.drift_check_minutes)
        if not strategy.schedule_changed_at < due_at <= now or due_at >= session.closes_at:
            continue
        key = f"{PREFIX}{strategy.name}:{session.day}"
        with transaction.atomic():
            job = schedule.claim_job(key, ScheduledJob.Kind.DRIFT, session.day, due_at)
            if job is None:
                continue
            if now - due_at > MAX_LATENESS:
                _report_missed(strategy, job)
            else:
                _start(strategy, job)


def _report_missed(strategy: Strategy, job: ScheduledJob) -> None:
    outcome = (
        f"The drift check of {strategy.name} at {new_york_clock(job.due_at)} did not start "
        "within 15 minutes. The next check is in the next session."
    )
    schedule.finish_job(job, succeeded=False, outcome=outcome)
    notify_operators(NotificationKind.WARNING, f"Drift check missed: {strategy.display_name}", outcome)


def _start(strategy: Strategy, job: ScheduledJob) -> None:
    event = create_event(job.key, ExecCommand.PRINT_REBALANCE, channel=strategy.name)
    outcome = event.reason or f"{event.runs.count()} accounts are checked."
    schedule.finish_job(job, succeeded=event.runs.exists(), outcome=outcome)


def rebalance_drifted_accounts(now: datetime) -> int:
    """Rebalance accounts that a check found outside their band, if the strategy requires it. Return their number."""
    requested = 0
    checked = RebalanceRun.objects.filter(
        mode=RunMode.PREVIEW,
        state=RunState.COMPLETED,
        event__source=EventSource.SCHEDULE,
        event__message_id__startswith=PREFIX,
        finished_at__gte=now - MAX_LATENESS,
        **{f"account__{FOLLOWED_STRATEGY}__drift_check": Strategy.DriftCheck.EXECUTE},
    )
    for run in checked.select_related(f"account__{FOLLOWED_STRATEGY}", "event"):
        channel, key = run.event.channel, f"{run.event.message_id}:{run.account.account_id}"
        same_event = StrategyEvent.objects.filter(source=EventSource.SCHEDULE, channel=channel, message_id=key)
        if is_outside_band(run) and not same_event.exists():
            create_event(key, ExecCommand.REBALANCE, channel=channel, account=run.account)
            requested += 1
    return requested


def is_outside_band(run: RebalanceRun) -> bool:
    """Return whether the account of a preview is outside its drift band, and its plan has trades."""
    comparison = compare_run(run)
    return bool(comparison and comparison.is_outside and run.result.get("trades"))
