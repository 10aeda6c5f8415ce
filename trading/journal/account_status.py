"""Status of accounts for the pages: written with each snapshot from the broker and with each plan."""

from collections.abc import Sequence
from decimal import Decimal

from django.db import transaction
from django.db.models import Count, Sum
from django.utils import timezone

from calculator.plan_types import CASH
from trading.journal.leases import Lease, fenced_transaction
from trading.models import AccountStanding, AccountValue, RebalanceRun, RunMode, StandingState, TotalValue
from trading.models.run_documents import stored_weights

UNFILLED = frozenset({"order_rejected", "order_not_filled", "order_not_sent"})
"""Warnings of a run that leave trades of its plan undone."""


def store_value(lease: Lease, account_pk: int, total_value_usd: Decimal, cash_usd: Decimal) -> None:
    """Add an entry to the account's value history and update its status, in US dollars; fenced."""
    now = timezone.now()
    values = {"account_id": account_pk, "total_value_usd": total_value_usd, "cash_usd": cash_usd}
    with fenced_transaction(lease):
        AccountValue.objects.create(**values)
        AccountStanding.objects.bulk_create(
            [AccountStanding(**values, as_of=now)],
            update_conflicts=True,
            unique_fields=("account",),
            update_fields=("total_value_usd", "cash_usd", "as_of"),
        )


def store_plan(run: RebalanceRun) -> None:
    """Store the drift of the account's newest plan, or of its outcome."""
    if not run.result:
        return
    weights = stored_weights(run.report.get("weights_after") or run.result["before"]["weights"])
    targets = stored_weights(run.result["target_weights"])
    drifts = {
        symbol: abs(weights.get(symbol, Decimal(0)) - targets.get(symbol, Decimal(0))) * 100
        for symbol in weights.keys() | targets.keys()
    }
    is_preview = run.mode == RunMode.PREVIEW
    unfilled = any(warning["code"] in UNFILLED for warning in run.warnings)
    is_outside = bool(run.result.get("trades")) if is_preview else unfilled
    AccountStanding.objects.filter(account_id=run.account_id).update(
        planned_run=run,
        largest_drift_percent=max(drifts.values(), default=Decimal(0)),
        state=StandingState.OUTSIDE if is_outside else StandingState.INSIDE,
        weights=[
            [symbol, f"{weight:f}"]
            for symbol, weight in sorted(weights.items(), key=_largest_first)
            if weight or symbol == CASH
        ],
    )


def _largest_first(item: tuple[str, Decimal]) -> tuple[bool, Decimal, str]:
    symbol, weight = item
    return symbol == CASH, -weight, symbol


def store_total() -> None:
    """Store today's total value of all enabled accounts, from their latest values."""
    known = AccountStanding.objects.filter(account__enabled=True)
    sums = known.aggregate(total=Sum("total_value_usd"), cash=Sum("cash_usd"), accounts=Count("pk"))
    if not sums["accounts"]:
        return
    TotalValue.objects.update_or_create(
        day=timezone.localdate(),
        defaults={"total_value_usd": sums["total"], "cash_usd": sums["cash"], "accounts": sums["accounts"]},
    )


def store_history(values: Sequence[AccountValue]) -> None:
    """Add past values of an account, one per day, oldest first, to its history and to that of all accounts."""
    with transaction.atomic():
        AccountValue.objects.bulk_create(values)
        latest = values[-1]
        AccountStanding.objects.get_or_create(
            account=latest.account,
            defaults={"as_of": latest.at, "total_value_usd": latest.total_value_usd, "cash_usd": latest.cash_usd},
        )
        for value in values:
            total, _ = TotalValue.objects.get_or_create(
                day=timezone.localdate(value.at), defaults={"total_value_usd": 0, "cash_usd": 0, "accounts": 0}
            )
            total.total_value_usd += value.total_value_usd
            total.cash_usd += value.cash_usd
            total.accounts += 1
            total.save()
