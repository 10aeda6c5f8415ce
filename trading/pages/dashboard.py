"""The cards of the dashboard: one an account, in a constant number of queries."""

from collections import defaultdict
from dataclasses import dataclass
from decimal import Decimal

from django.db.models import Max

from accounts.models import Account
from trading.models import AccountValue, RebalanceRun, RunState
from trading.pages.charts import LineChart, line_chart
from trading.pages.tables import WeightRow, weight_rows

VALUES_A_CARD = 60


@dataclass(frozen=True)
class Card:
    """One account of the dashboard."""

    account: Account
    total_value_usd: Decimal | None
    cash_usd: Decimal | None
    rows: list[WeightRow]
    largest_drift: Decimal | None
    outside: bool
    chart: LineChart | None
    running: bool


def account_cards() -> list[Card]:
    """The enabled accounts, the largest drift first, those never looked at last."""
    accounts = list(Account.objects.filter(enabled=True).select_related("strategy"))
    planned = _latest_planned()
    values = _latest_values()
    running = set(
        RebalanceRun.objects.filter(state__in=(RunState.QUEUED, RunState.RUNNING)).values_list("account_id", flat=True)
    )
    cards = [_card(account, planned.get(account.pk), values[account.pk], account.pk in running) for account in accounts]
    return sorted(
        cards,
        key=lambda card: (card.largest_drift is None, -(card.largest_drift or 0), card.account.account_id),
    )


def _card(account: Account, run: RebalanceRun | None, values: list[Decimal], running: bool) -> Card:  # noqa: FBT001
    rows = weight_rows(run) if run else []
    drifts = [abs(row.drift_after if run and run.report else row.drift_before) for row in rows]
    band = Decimal(str(run.policy.get("allocation_threshold_percent", 0))) if run else Decimal(0)
    largest = max(drifts, default=None)
    has_trades = bool(run and not run.report and run.result.get("trades"))
    return Card(
        account=account,
        total_value_usd=run.total_value_usd if run else None,
        cash_usd=run.cash_usd if run else None,
        rows=rows,
        largest_drift=largest,
        outside=has_trades and largest is not None and largest >= band,
        chart=line_chart(values),
        running=running,
    )


def _latest_planned() -> dict[int, RebalanceRun]:
    """By account, its newest run that has a plan."""
    newest = (
        RebalanceRun.objects.filter(state=RunState.COMPLETED)
        .exclude(result={})
        .values("account_id")
        .annotate(newest=Max("pk"))
        .values_list("newest", flat=True)
    )
    return {run.account_id: run for run in RebalanceRun.objects.filter(pk__in=list(newest))}


def _latest_values() -> dict[int, list[Decimal]]:
    """By account, its latest values, oldest first."""
    values: dict[int, list[Decimal]] = defaultdict(list)
    for account_id, value in AccountValue.objects.order_by("-at").values_list("account_id", "total_value_usd")[:5000]:
        if len(values[account_id]) < VALUES_A_CARD:
            values[account_id].insert(0, value)
    return values


def totals(cards: list[Card]) -> dict[str, object]:
    """The figures above the cards."""
    return {
        "value": sum((card.total_value_usd or Decimal(0) for card in cards), Decimal(0)),
        "accounts": len(cards),
        "outside": sum(card.outside for card in cards),
        "running": sum(card.running for card in cards),
    }
