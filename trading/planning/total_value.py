"""The total value of all enabled accounts, and the money that changed it."""

from collections.abc import Mapping
from decimal import Decimal

from django.utils import timezone

from trading.journal.account_status import store_total
from trading.models import AccountStanding, TotalValue
from trading.planning.performance import flows_since

FIELDS = ("account_id", "total_value_usd", "cash_usd")


def record_total() -> None:
    """Store today's total value of all enabled accounts, from their latest values; nothing without a value."""
    rows = AccountStanding.objects.filter(account__enabled=True).order_by("account_id")
    known = {account: (value, cash) for account, value, cash in rows.values_list(*FIELDS)}
    if known:
        values = {account: value for account, (value, _) in known.items()}
        store_total(timezone.localdate(), {str(account): pair for account, pair in known.items()}, _flow(values))


def _flow(values: Mapping[int, Decimal]) -> Decimal | None:
    """Return the money that came in since the stored day before, or out if negative.

    An account that was added or enabled pays in its value, one that was disabled or deleted pays it out. None without a
    day before, where that day does not know its accounts, or with a change that nothing explains.
    """
    before = TotalValue.objects.filter(day__lt=timezone.localdate()).order_by("-day").first()
    if before is None or not before.account_values:
        return None
    former = {int(account): Decimal(value) for account, value in before.account_values.items()}
    joined = sum((value for account, value in values.items() if account not in former), Decimal(0))
    left = sum((value for account, value in former.items() if account not in values), Decimal(0))
    stayed = list(flows_since([account for account in values if account in former], before.day).values())
    known = [flow for flow in stayed if flow is not None]
    return joined - left + sum(known, Decimal(0)) if len(known) == len(stayed) else None
