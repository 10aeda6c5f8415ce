"""Drift checks: a preview of a strategy's accounts once a session, and a rebalance only if its policy says so."""

from datetime import datetime, timedelta
from decimal import Decimal

from django.conf import settings
from django.db import transaction

from accounts.models import Strategy
from brokers.exchange_calendar import NEW_YORK
from trading.guards.account import MAX_LATENESS
from trading.inbox.receive import receive_event
from trading.journal import schedule
from trading.journal.outbox import notify_operators
from trading.market_calendar import MarketCalendar
from trading.models import (
    EventSource,
    NotificationKind,
    RebalanceRun,
    RunMode,
    RunState,
    ScheduledJob,
    StrategyEvent,
)
from trading.models.run_documents import ExecCommand

PREFIX = "drift:"


def start_checks(now: datetime, calendar: MarketCalendar) -> None:
    """Asks for the previews of the checks that are due; one that is too late is reported, and made next session."""
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
    words = (
        f"Nothing could check the drift of {strategy.name} at {job.due_at.astimezone(NEW_YORK):%H:%M} New York time, "
        "nor within 15 minutes after. It is checked again in the next session."
    )
    schedule.finish_job(job, succeeded=False, outcome=words)
    notify_operators(NotificationKind.WARNING, f"Drift check missed: {strategy.display_name}", words)


def _start(strategy: Strategy, job: ScheduledJob) -> None:
    event = receive_event(
        source=EventSource.SCHEDULE,
        channel=strategy.name,
        message_id=job.key,
        payload={"exec": str(ExecCommand.PRINT_REBALANCE), "event_id": job.key},
    )
    words = event.reason or f"{event.runs.count()} accounts are looked at."
    schedule.finish_job(job, succeeded=event.runs.exists(), outcome=words)


def follow_checks(now: datetime) -> int:
    """Asks for the execution of accounts that a check has found outside their band, where the policy says so.

    Returns:
        How many executions were asked for.
    """
    asked = 0
    looked_at = RebalanceRun.objects.filter(
        mode=RunMode.PREVIEW,
        state=RunState.COMPLETED,
        event__source=EventSource.SCHEDULE,
        event__message_id__startswith=PREFIX,
        finished_at__gte=now - MAX_LATENESS,
        account__strategy__drift_check=Strategy.DriftCheck.EXECUTE,
    )
    for run in looked_at.select_related("account__strategy", "event"):
        message_id = f"{run.event.message_id}:{run.account.account_id}"
        if not outside_band(run) or _asked_before(run, message_id):
            continue
        receive_event(
            source=EventSource.SCHEDULE,
            channel=run.event.channel,
            message_id=message_id,
            payload={
                "exec": str(ExecCommand.REBALANCE),
                "account_id": run.account.account_id,
                "event_id": message_id,
            },
        )
        asked += 1
    return asked


def _asked_before(run: RebalanceRun, message_id: str) -> bool:
    return StrategyEvent.objects.filter(
        source=EventSource.SCHEDULE, channel=run.event.channel, message_id=message_id
    ).exists()


def outside_band(run: RebalanceRun) -> bool:
    """Whether a symbol's weight is off its target by the band or more, and the plan would do something about it."""
    if not run.result.get("trades"):
        return False
    band = Decimal(run.policy["allocation_threshold_percent"]) / 100
    return largest_drift(run) >= band


def largest_drift(run: RebalanceRun) -> Decimal:
    """The largest drift of a symbol before the plan, as a fraction of the account's value."""
    now = {symbol: Decimal(weight) for symbol, weight in run.result["before"]["weights"].items() if symbol != "CASH"}
    wanted = {symbol: Decimal(weight) for symbol, weight in run.result["target_weights"].items() if symbol != "CASH"}
    zero = Decimal(0)
    drifts = [abs(now.get(symbol, zero) - wanted.get(symbol, zero)) for symbol in {*now, *wanted}]
    return max(drifts, default=zero)
