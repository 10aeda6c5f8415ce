"""Performance of accounts from stored values and executions; `returns.py` calculates it."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal

from django.db.models import Max
from django.db.models.functions import TruncDate
from django.utils import timezone

from trading.market_calendar import session_days
from trading.models import AccountValue, Fill, SeenExecution
from trading.models.orders import MANUAL_EXECUTION_PREFIX, reduce
from trading.planning.returns import DayReturn, DayValue, Execution, Gap, Period, daily_returns, period_return

MONTH_DAYS = 30
LONGEST_CLOSURE = timedelta(days=14)
"""Time before a period in which the value at its start is searched."""


@dataclass(frozen=True)
class Performance:
    """The daily values of an account, oldest first, and the return of each day after the first."""

    values: tuple[DayValue, ...]
    returns: tuple[DayReturn, ...]

    def over(self, days: int) -> Period:
        """Return the return of the last days, in percent."""
        first = self.values[0].day if self.values else None
        return period_return(self.returns, timezone.localdate() - timedelta(days=days), first)


def performance_of(accounts: Sequence[int], days: int) -> dict[int, Performance]:
    """Return the performance of each account over the last days, in a constant number of queries."""
    since = timezone.now() - timedelta(days=days) - LONGEST_CLOSURE
    values = _values(accounts, since)
    executions = _executions(accounts, since)
    sessions = session_days(timezone.localdate(since), timezone.localdate())
    return {
        account: Performance(
            tuple(values[account]), tuple(daily_returns(values[account], executions[account], sessions))
        )
        for account in accounts
    }


def return_percent(account_pk: int, days: int = MONTH_DAYS) -> Decimal | None:
    """Return the return of an account over the last days in percent, without money paid in or out.

    None if the history is shorter, a day has no value, or a day has a change that nothing explains.
    """
    return performance_of([account_pk], days)[account_pk].over(days).percent


def flows_since(accounts: Sequence[int], day: date) -> dict[int, Decimal | None]:
    """Return the money that was paid in, or out if negative, since the last value of a day or of one before it.

    None for an account with a change that nothing explains.
    """
    since = datetime.combine(day, time(), timezone.get_current_timezone()) - LONGEST_CLOSURE
    values, executions = _values(accounts, since), _executions(accounts, since)
    flows: dict[int, Decimal | None] = {}
    for account in accounts:
        found = [one for one in daily_returns(values[account], executions[account], ()) if one.day > day]
        is_known = all(one.gap is not Gap.UNEXPLAINED for one in found)
        flows[account] = sum((one.flow_usd for one in found), Decimal(0)) if is_known else None
    return flows


def _values(accounts: Sequence[int], since: datetime) -> dict[int, list[DayValue]]:
    """Return the last value of each day."""
    by_day = AccountValue.objects.annotate(day=TruncDate("at"))
    days = by_day.filter(account_id__in=accounts, at__gte=since).values("account_id", "day").order_by()
    newest = days.annotate(newest=Max("pk")).values_list("newest", flat=True)
    rows = by_day.filter(pk__in=newest).order_by("at")
    found: dict[int, list[DayValue]] = defaultdict(list)
    for account, day, at, value, cash, shares in rows.values_list(
        "account_id", "day", "at", "total_value_usd", "cash_usd", "shares"
    ):
        found[account].append(DayValue(day, at, value, cash, shares))
    return found


def _executions(accounts: Sequence[int], since: datetime) -> dict[int, list[Execution]]:
    """Return our own fills, and what else the broker reported; a fill is known with its commission.

    What the broker has reported replaces a fill that a user entered, also before the order's row is updated.
    """
    found: dict[int, dict[str, Execution]] = defaultdict(dict)
    reported: dict[tuple[int, str], dict[str, Decimal]] = defaultdict(dict)
    seen = SeenExecution.objects.filter(account_id__in=accounts, executed_at__gte=since).order_by()
    for account, key, at, symbol, quantity, price, order in seen.values_list(
        "account_id", "execution_id", "executed_at", "symbol", "quantity", "price_usd", "client_order_id"
    ):
        reported[account, order][key] = abs(quantity)
        found[account][key] = Execution(at, symbol, quantity, -quantity * price)
    fills = Fill.objects.filter(order__account_id__in=accounts, executed_at__gte=since).order_by()
    rows = fills.values_list(
        "order__account_id",
        "execution_id",
        "executed_at",
        "order__symbol",
        "quantity",
        "price_usd",
        "commission_usd",
        "order__client_order_id",
    )
    booked = {(row[0], row[1]) for row in rows}
    for account, key, at, symbol, quantity, price, commission, order in rows:
        left = quantity
        if key.startswith(MANUAL_EXECUTION_PREFIX):
            unbooked = [shares for one, shares in reported[account, order].items() if (account, one) not in booked]
            left = reduce(quantity, sum(unbooked, Decimal(0)))
        if left:
            part = left / quantity
            found[account][key] = Execution(at, symbol, left, -left * price - (commission or 0) * part)
    return {account: list(executions.values()) for account, executions in found.items()} | {
        account: [] for account in accounts if account not in found
    }
