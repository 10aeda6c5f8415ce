"""Account values over time for the charts: the last value of each day."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal

from django.db.models import Max, Sum
from django.db.models.functions import TruncDate
from django.utils import timezone

from accounts.models import Account
from trading.models import AccountStanding, AccountValue, RebalanceRun, RunMode, RunState, TotalValue

YEAR_DAYS = 365
MONTH_DAYS = 30
CARD_DAYS = 90
MOST_MARKS = 100

Points = list[tuple[date, Decimal]]


def values_of(accounts: Sequence[int], days: int) -> dict[int, Points]:
    """Return the daily values of each account, oldest first."""
    since = timezone.now() - timedelta(days=days)
    by_day = AccountValue.objects.annotate(day=TruncDate("at"))
    days_of_accounts = by_day.filter(account_id__in=accounts, at__gte=since).values("account_id", "day").order_by()
    newest = days_of_accounts.annotate(newest=Max("pk")).values_list("newest", flat=True)
    rows = by_day.filter(pk__in=newest).order_by("at")
    found: dict[int, Points] = defaultdict(list)
    for account_id, day, value in rows.values_list("account_id", "day", "total_value_usd"):
        found[account_id].append((day, value))
    return found


def total_values() -> Points:
    """Return the daily total value of all accounts, oldest first; today's is current."""
    today = timezone.localdate()
    rows = TotalValue.objects.filter(day__gte=today - timedelta(days=YEAR_DAYS), day__lt=today).order_by("day")
    now = AccountStanding.objects.filter(account__enabled=True).aggregate(value=Sum("total_value_usd"))["value"]
    return [*rows.values_list("day", "total_value_usd"), *([(today, now)] if now is not None else [])]


def rebalance_days(account: Account | None = None) -> list[date]:
    """Return the days on which a rebalance of the account, or of any account, completed."""
    runs = RebalanceRun.objects.filter(
        state=RunState.COMPLETED, mode=RunMode.EXECUTE, finished_at__gte=timezone.now() - timedelta(days=YEAR_DAYS)
    )
    if account is not None:
        runs = runs.filter(account=account)
    finished = runs.order_by("-id").values_list("finished_at", flat=True)[:MOST_MARKS]
    return [timezone.localdate(instant) for instant in finished if instant is not None]


def change_percent(points: Points) -> Decimal | None:
    """Return the change of the value over the last 30 days in percent; None without an older value."""
    if len(points) < 2:
        return None
    since = points[-1][0] - timedelta(days=MONTH_DAYS)
    before = next((value for day, value in points if day >= since), None)
    return (points[-1][1] / before - 1) * 100 if before else None
