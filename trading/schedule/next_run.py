"""When accounts are rebalanced next: their waiting schedule entry, or the cadence of their strategy."""

from collections.abc import Sequence
from datetime import datetime

from django.conf import settings
from django.db.models import Min

from accounts.models import Account, Strategy
from trading.market_calendar import MarketCalendar
from trading.models import ScheduleEntry, ScheduleState
from trading.schedule.cadence import next_cadence_open


def next_run_times(accounts: Sequence[Account], now: datetime, calendar: MarketCalendar) -> dict[int, datetime]:
    """Return the next start by the key of each account that has one, in one query.

    Args:
        accounts: accounts with their strategies.
        now: the present time.
        calendar: sessions of the exchange.
    """
    if not settings.SCHEDULER_ENABLED:
        return {}
    waiting = ScheduleEntry.objects.filter(account__in=accounts, state=ScheduleState.WAITING)
    times: dict[int, datetime] = dict(waiting.values_list("account_id").annotate(Min("due_at")).order_by())
    cadences: dict[str, datetime | None] = {}
    for account in accounts:
        strategy = account.followed_strategy
        if strategy is None or not (strategy.enabled and account.enabled and account.type == settings.TRADING_MODE):
            continue
        due_at = _of_cadence(strategy, cadences, now, calendar)
        if due_at is not None:
            times[account.pk] = min(times.get(account.pk, due_at), due_at)
    return times


def _of_cadence(
    strategy: Strategy, known: dict[str, datetime | None], now: datetime, calendar: MarketCalendar
) -> datetime | None:
    """Return the next start of the strategy's cadence; it is the same for all strategies with that cadence."""
    if strategy.cadence not in known:
        opening = next_cadence_open(strategy, now, calendar)
        known[strategy.cadence] = opening.due_at if opening else None
    return known[strategy.cadence]
