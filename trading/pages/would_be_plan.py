"""What scheduled accounts would trade, from their newest previews."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any

from django.db.models import OuterRef, Subquery

from accounts.models import Account
from trading.common.clock import database_now
from trading.models import RebalanceRun, RunMode, RunState

MAX_AGE = timedelta(minutes=5)
"""Maximum age of a preview that shows what an account would trade now."""


class PreviewState(StrEnum):
    """What is known about the orders of an account."""

    NONE = "none"
    IN_PROGRESS = "in_progress"
    CURRENT = "current"
    OLD = "old"
    FAILED = "failed"


def newest_preview(account: Account) -> RebalanceRun | None:
    """Return the newest preview of the account that no other run has replaced."""
    previews = account.runs.filter(mode=RunMode.PREVIEW).exclude(state=RunState.SUPERSEDED)
    return previews.select_related("account", "event").order_by("-id").first()


def preview_state(preview: RebalanceRun | None) -> PreviewState:
    """Return whether the preview shows what its account would trade now."""
    if preview is None:
        return PreviewState.NONE
    if not preview.is_finished:
        return PreviewState.IN_PROGRESS
    if preview.finished_at is None or preview.finished_at < database_now() - MAX_AGE:
        return PreviewState.OLD
    if preview.account.runs.filter(pk__gt=preview.pk, mode=RunMode.EXECUTE).exists():
        return PreviewState.OLD  # its orders may have been sent since
    return PreviewState.CURRENT if preview.result else PreviewState.FAILED


@dataclass(frozen=True)
class PlanTotals:
    """The orders of a preview in figures."""

    run_id: str
    at: datetime | None
    sells: int
    sell_value: Decimal
    buys: int
    buy_value: Decimal


def plan_totals(accounts: Iterable[Account]) -> dict[int, PlanTotals]:
    """Return the figures of the newest plan by the key of each account that has one, in one query."""
    completed = RebalanceRun.objects.filter(mode=RunMode.PREVIEW, state=RunState.COMPLETED, account=OuterRef("pk"))
    newest = Account.objects.filter(pk__in=[account.pk for account in accounts]).values(
        newest=Subquery(completed.order_by("-id").values("pk")[:1])
    )
    previews = RebalanceRun.objects.filter(pk__in=newest).only("run_id", "account_id", "finished_at", "result")
    return {preview.account_id: _totals(preview) for preview in previews if preview.result}


def _totals(preview: RebalanceRun) -> PlanTotals:
    plan = preview.result.get("plan", {})
    sells, buys = plan.get("sells", []), plan.get("buys", [])
    return PlanTotals(
        run_id=preview.run_id,
        at=preview.finished_at,
        sells=len(sells),
        sell_value=_value(sells),
        buys=len(buys),
        buy_value=_value(buys),
    )


def _value(lines: list[dict[str, Any]]) -> Decimal:
    return sum((abs(line["quantity"]) * Decimal(line["quote_usd"]) for line in lines), Decimal(0))
