"""Cadences: the accounts of a strategy are rebalanced on the first session of each week, month or quarter."""

from datetime import date, datetime, timedelta

from django.conf import settings
from django.db import transaction

from accounts.models import Strategy
from accounts.models.account import FOLLOWED_STRATEGY
from trading.journal import schedule
from trading.market_calendar import MarketCalendar
from trading.models import ScheduledJob, ScheduleEntry, ScheduleOrigin, ScheduleState
from trading.schedule.next_open import Open, next_open, open_after

MONTHS = {Strategy.Cadence.MONTHLY: 1, Strategy.Cadence.QUARTERLY: 3}


def period_start(cadence: str, day: date) -> date:
    """Return the first day of the week, month or quarter that contains the day."""
    if cadence == Strategy.Cadence.WEEKLY:
        return day - timedelta(days=day.weekday())
    months = MONTHS[Strategy.Cadence(cadence)]
    return date(day.year, (day.month - 1) // months * months + 1, 1)


def first_open_of_period(cadence: str, day: date, calendar: MarketCalendar) -> Open:
    """Return the start in the first session of the period that contains the day."""
    return open_after(period_start(cadence, day) - timedelta(days=1), calendar)


def next_cadence_open(strategy: Strategy, now: datetime, calendar: MarketCalendar) -> Open | None:
    """Return the next start of the strategy's cadence; None if it has no cadence."""
    if strategy.cadence == Strategy.Cadence.NONE:
        return None
    day = next_open(now, calendar).session_date
    while (opening := first_open_of_period(strategy.cadence, day, calendar)).due_at <= now:
        # Shorter than a period, so that no period is skipped.
        day += timedelta(days=7 if strategy.cadence == Strategy.Cadence.WEEKLY else 28)
    return opening


def plan_cadences(now: datetime, calendar: MarketCalendar) -> None:
    """Schedule the accounts of each strategy whose cadence starts at the next open, or was missed."""
    obsolete = ScheduleEntry.objects.filter(
        state=ScheduleState.WAITING,
        origin=ScheduleOrigin.CADENCE,
        **{f"account__{FOLLOWED_STRATEGY}__cadence": Strategy.Cadence.NONE},
    )
    for entry in obsolete:
        schedule.remove_entry(entry, "The cadence of the strategy was removed.")
    if not settings.SCHEDULER_ENABLED:
        return
    next_session = next_open(now, calendar).session_date
    for strategy in Strategy.objects.filter(enabled=True).exclude(cadence=Strategy.Cadence.NONE):
        # A first session that is over is in the period of the next open, or in the one before.
        days = next_session, next_session - timedelta(days=1)
        for opening in {first_open_of_period(strategy.cadence, day, calendar) for day in days}:
            if opening.session_date <= next_session and opening.due_at > strategy.schedule_changed_at:
                _plan(strategy, opening, now)


def _plan(strategy: Strategy, opening: Open, now: datetime) -> None:
    if opening.due_at > now:
        _add_accounts(strategy, opening)
        return
    key = f"cadence:{strategy.name}:{opening.session_date}"
    with transaction.atomic():
        job = schedule.claim_job(key, ScheduledJob.Kind.CADENCE, opening.session_date, opening.due_at)
        if job is not None:
            count = _add_accounts(strategy, opening)
            schedule.finish_job(job, succeeded=True, outcome=f"{count} accounts were scheduled late.")


def _add_accounts(strategy: Strategy, opening: Open) -> int:
    """Schedule the accounts that have no entry for the session. An account that was removed stays removed."""
    accounts = strategy.accounts.filter(enabled=True, type=settings.TRADING_MODE).order_by("account_id")
    keys = {schedule.entry_key(account, opening.session_date): account for account in accounts}
    known = set(ScheduleEntry.objects.filter(key__in=keys).values_list("key", flat=True))
    added = [account for key, account in keys.items() if key not in known]
    for account in added:
        message = f"The {strategy.cadence} rebalance of {strategy.name}."
        schedule.add_entry(account, opening.session_date, opening.due_at, ScheduleOrigin.CADENCE, message=message)
    return len(added)
