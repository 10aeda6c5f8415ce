"""What scheduled accounts would trade, from their newest previews."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any

from django.db.models import Exists, OuterRef, Subquery

from accounts.models import Account
from trading.common.clock import database_now
from trading.models import RebalanceRun, RunMode, RunState
from trading.planning.plan_changes import changes_since, is_of_account

MAX_AGE = timedelta(minutes=5)
"""Maximum age of a preview that shows what an account would trade now."""


class PreviewFreshness(StrEnum):
    """What is known about the orders of an account."""

    NONE = "none"
    IN_PROGRESS = "in_progress"
    CURRENT = "current"
    OLD = "old"
    FAILED = "failed"


def newest_preview(account: Account) -> RebalanceRun | None:
    """Return the newest preview of the account that no other run has replaced.

    One of what was another account, at another broker, in another environment or with another number, is left out.
    """
    previews = account.runs.filter(
        mode=RunMode.PREVIEW, connection__broker=account.broker, connection__environment=account.type
    ).exclude(state=RunState.SUPERSEDED)
    newest = previews.select_related("account", "connection", "event").order_by("-id").first()
    return newest if newest is not None and is_of_account(newest, account) else None


def preview_freshness(preview: RebalanceRun | None) -> PreviewFreshness:
    """Return whether the preview shows what its account would trade now."""
    if preview is None:
        return PreviewFreshness.NONE
    if not preview.is_finished:
        return PreviewFreshness.IN_PROGRESS
    if _old([preview]):
        return PreviewFreshness.OLD
    return PreviewFreshness.CURRENT if preview.result else PreviewFreshness.FAILED


def _old(previews: Sequence[RebalanceRun]) -> set[int]:
    """Return the keys of the previews that do not show what their accounts would trade now.

    They are too old, a run may have sent their orders since, or targets or settings have changed.
    """
    earliest = database_now() - MAX_AGE
    old = {one.pk for one in previews if one.finished_at is None or one.finished_at < earliest}
    executions = RebalanceRun.objects.filter(mode=RunMode.EXECUTE, account=OuterRef("account"), pk__gt=OuterRef("pk"))
    executed = RebalanceRun.objects.filter(Exists(executions), pk__in=[one.pk for one in previews])
    return old | set(executed.values_list("pk", flat=True)) | changes_since(previews).keys()


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
    """Return the figures of the newest plan by the key of each account whose plan is current, in a few queries."""
    completed = RebalanceRun.objects.filter(mode=RunMode.PREVIEW, state=RunState.COMPLETED, account=OuterRef("pk"))
    newest = Account.objects.filter(pk__in=[account.pk for account in accounts]).values(
        newest=Subquery(completed.order_by("-id").values("pk")[:1])
    )
    found = list(RebalanceRun.objects.filter(pk__in=newest).select_related("connection").defer("guards", "report"))
    old = _old(found)
    return {preview.account_id: _totals(preview) for preview in found if preview.result and preview.pk not in old}


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
