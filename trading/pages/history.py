"""Account values over time for the charts, with what changed them besides the market."""

from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

from django.db.models import Q
from django.db.models.functions import TruncDate
from django.utils import timezone

from accounts.models import Account
from calculator.formats import money
from trading.common.formats import day_text
from trading.models import Fill, TotalValue
from trading.pages.charts import Mark, ValueChart, value_chart
from trading.planning.performance import Performance
from trading.planning.returns import SMALL_FRACTION, Gap, Period

YEAR_DAYS = 365
MONTH_DAYS = 30
CARD_DAYS = 90
MOST_MARKS = 100

Points = list[tuple[date, Decimal]]
GAP_TEXTS = {
    Gap.NO_VALUE: "no value was recorded for {day}",
    Gap.UNEXPLAINED: "the account changed on {day} by something other than recorded trades",
    Gap.NO_CAPITAL: "the account was empty on {day}",
    Gap.TOO_SHORT: "the history is shorter",
}


def points_of(performance: Performance, days: int) -> Points:
    """Return the daily values of an account over the last days, oldest first."""
    since = timezone.localdate() - timedelta(days=days)
    return [(value.day, value.value_usd) for value in performance.values if value.day >= since]


def missing_return(period: Period) -> str:
    """Return why a period has no return; empty if it has one."""
    if period.gap is None:
        return ""
    return GAP_TEXTS[period.gap].format(day=day_text(period.gap_day) if period.gap_day else "")


def flow_days(performance: Performance) -> list[date]:
    """Return the days on which money was paid in or out; a small amount, which can be interest, is not one."""
    return [mark.day for mark in _cash_marks(performance) if mark.kind == "flow"]


def account_chart(account: Account, performance: Performance) -> ValueChart | None:
    """Return the chart of an account's value over the last year, with its trades and the money in and out."""
    marks = [Mark(day, "trade", f"Traded on {day_text(day)}") for day in trade_days(account)]
    return value_chart(points_of(performance, YEAR_DAYS), [*marks, *_cash_marks(performance)])


def total_chart() -> ValueChart | None:
    """Return the chart of the total value of all accounts over the last year, with the money in and out."""
    since = timezone.localdate() - timedelta(days=YEAR_DAYS)
    rows = TotalValue.objects.filter(day__gte=since).order_by("day").defer("account_values")
    known = list(rows.annotate(knows_accounts=~Q(account_values={})))
    return value_chart([(row.day, row.total_value_usd) for row in known], list(_total_marks(known)))


def trade_days(account: Account) -> list[date]:
    """Return the newest days on which orders of the account were filled."""
    fills = Fill.objects.filter(order__account=account, executed_at__gte=timezone.now() - timedelta(days=YEAR_DAYS))
    days = fills.annotate(day=TruncDate("executed_at")).order_by("-day").values_list("day", flat=True)
    return list(days.distinct()[:MOST_MARKS])


def _cash_marks(performance: Performance) -> list[Mark]:
    marks, values = [], {value.day: value.value_usd for value in performance.values}
    for one in performance.returns:
        if one.gap is Gap.UNEXPLAINED:
            marks.append(Mark(one.day, "unexplained", f"Change without a recorded trade on {day_text(one.day)}"))
        elif abs(one.flow_usd) > abs(values.get(one.day, Decimal(0))) * SMALL_FRACTION:
            marks.append(Mark(one.day, "flow", _flow_text(one.flow_usd, one.day)))
    return marks


def _total_marks(rows: Sequence[Any]) -> Iterable[Mark]:
    for before, row in pairwise(rows):
        if row.flow_usd is not None and abs(row.flow_usd) > abs(row.total_value_usd) * SMALL_FRACTION:
            yield Mark(row.day, "flow", _flow_text(row.flow_usd, row.day))
        elif row.flow_usd is None and row.knows_accounts and before.knows_accounts:
            yield Mark(row.day, "unexplained", f"Change without a recorded trade on {day_text(row.day)}")
        elif row.flow_usd is None and before.accounts != row.accounts:
            text = f"{before.accounts} accounts before {day_text(row.day)}, {row.accounts} since"
            yield Mark(row.day, "flow", text)


def _flow_text(flow_usd: Decimal, day: date) -> str:
    return f"Money {'in' if flow_usd > 0 else 'out'} on {day_text(day)}: {money(abs(flow_usd), 0)}"
