"""The total value of all enabled accounts, and the money that changed it."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from django.utils import timezone

from trading.models import AccountStanding, TotalValue
from trading.planning.performance import flows_since


@dataclass(frozen=True)
class Total:
    """The total of a day in US dollars, from the latest value of each account (by primary key).

    `flow_usd` is what was paid in since the day before, or out if it is negative. An account that was added or enabled
    pays in its value, one that was disabled pays it out. None without a day before, or where that day does not know
    its accounts.
    """

    day: date
    total_value_usd: Decimal
    cash_usd: Decimal
    account_values: dict[str, str]
    flow_usd: Decimal | None


def total_today() -> Total | None:
    """Return today's total; None if no enabled account has a value."""
    rows = AccountStanding.objects.filter(account__enabled=True).order_by("account_id")
    known = list(rows.values_list("account_id", "total_value_usd", "cash_usd"))
    if not known:
        return None
    today = timezone.localdate()
    before = TotalValue.objects.filter(day__lt=today).order_by("-day").first()
    values = {account: value for account, value, _ in known}
    return Total(
        day=today,
        total_value_usd=sum(values.values(), Decimal(0)),
        cash_usd=sum((cash for *_, cash in known), Decimal(0)),
        account_values={str(account): f"{value:f}" for account, value in values.items()},
        flow_usd=_flow(before, values) if before and before.account_values else None,
    )


def _flow(before: TotalValue, values: dict[int, Decimal]) -> Decimal:
    former = {int(account): Decimal(value) for account, value in before.account_values.items()}
    joined = sum((value for account, value in values.items() if account not in former), Decimal(0))
    left = sum((value for account, value in former.items() if account not in values), Decimal(0))
    stayed = flows_since([account for account in values if account in former], before.day)
    return joined - left + sum(stayed.values(), Decimal(0))
