"""Rebalancing by the calendar: on the first session of each week, month or quarter."""

import logging
from datetime import date, datetime, timedelta

from django.conf import settings
from django.db import transaction

from accounts.models import Account, Strategy
from trading.journal import schedule
from trading.market_calendar import MarketCalendar
from trading.models import ScheduledJob, ScheduleEntry, ScheduleOrigin, ScheduleState
from trading.schedule.next_open import Open, next_open, open_after

logger = logging.getLogger("rebalancer.trading")

MONTHS = {Strategy.Cadence.MONTHLY: 1, Strategy.Cadence.QUARTERLY: 3}


def period_start(cadence: str, day: date) -> date:
    """The first day of the week, month or quarter that the day is in."""
    if cadence == Strategy.Cadence.WEEKLY:
        return day - timedelta(days=day.weekday())
    months = MONTHS[Strategy.Cadence(cadence)]
    return date(day.year, (day.month - 1) // months * months + 1, 1)


def first_open(cadence: str, day: date, calendar: MarketCalendar) -> Open:
    """The start of the first session of the period that the day is in."""
    return open_after(period_start(cadence, day) - timedelta(days=1), calendar)


def coming_open(strategy: Strategy, now: datetime, calendar: MarketCalendar) -> Open | None:
    """When the strategy's cadence comes next; None when it has none."""
    if strategy.cadence == Strategy.Cadence.NONE:
        return None
    day = next_open(now, calendar).session_date
    while (opening := first_open(strategy.cadence, day, calendar)).due_at <= now:
        # A week, month or quarter is over after so many days at the latest.
        day += timedelta(days=7 if strategy.cadence == Strategy.Cadence.WEEKLY else 28)
    return opening


def plan_cadences(now: datetime, calendar: MarketCalendar) -> None:
    """Puts accounts on the schedule whose strategy's cadence comes at the next open, or was missed."""
    withdrawn = ScheduleEntry.objects.filter(
        state=ScheduleState.WAITING, origin=ScheduleOrigin.CADENCE, account__strategy__cadence=Strategy.Cadence.NONE
    )
    for entry in withdrawn:
        schedule.remove_entry(entry, "The strategy has no cadence any more.")
    if not settings.SCHEDULER_ENABLED:
        return
    for strategy in Strategy.objects.filter(enabled=True).exclude(cadence=Strategy.Cadence.NONE):
        day = next_open(now, calendar).session_date
        # A first session that is over belongs to the same period as the open that comes, or to the one before.
        for opening in {first_open(strategy.cadence, when, calendar) for when in (day, _day_before(day))}:
            _plan(strategy, opening, now, day)


def _day_before(day: date) -> date:
    return day - timedelta(days=1)


def _plan(strategy: Strategy, opening: Open, now: datetime, coming: date) -> None:
    if opening.session_date > coming or opening.due_at <= strategy.schedule_changed_at:
        return
    if opening.due_at > now:
        _place(strategy, opening)
        return
    key = f"cadence:{strategy.name}:{opening.session_date}"
    with transaction.atomic():
        job = schedule.claim_job(key, ScheduledJob.Kind.CADENCE, opening.session_date, opening.due_at)
        if job is not None:
            count = _place(strategy, opening)
            schedule.finish_job(job, succeeded=True, outcome=f"{count} accounts were put on the schedule late.")


def _place(strategy: Strategy, opening: Open) -> int:
    """Adds the accounts that the schedule of that session does not know yet; one taken off stays off."""
    keys = {schedule.entry_key(account, opening.session_date): account for account in _followers(strategy)}
    known = set(ScheduleEntry.objects.filter(key__in=keys).values_list("key", flat=True))
    added = [account for key, account in keys.items() if key not in known]
    for account in added:
        message = f"The {strategy.cadence} rebalance of {strategy.name}."
        schedule.add_entry(account, opening.session_date, opening.due_at, ScheduleOrigin.CADENCE, message=message)
    return len(added)


def _followers(strategy: Strategy) -> list[Account]:
    return list(strategy.accounts.filter(enabled=True, type=settings.TRADING_MODE).order_by("account_id"))
