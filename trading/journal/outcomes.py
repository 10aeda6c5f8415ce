"""The outcome of a run: what became of its plan. Pages, lists, API, commands and messages show what is decided here."""

import logging
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.db import transaction

from calculator.plan_types import CASH
from trading.error_codes import GUARDS
from trading.models import Order, OrderState, RebalanceRun, RunMode, RunOutcome, RunState
from trading.models.run_documents import stored_weights

logger = logging.getLogger("rebalancer.trading")

OUTCOME_OF_STATE: dict[str, str] = {
    RunState.DEFERRED: RunOutcome.DEFERRED,
    RunState.REFUSED: RunOutcome.REFUSED,
    RunState.NEEDS_ATTENTION: RunOutcome.NEEDS_ATTENTION,
}
"""Outcome of the states that decide it. The plan's orders decide about completed, stopped and failed runs.

Queued, running and superseded runs have none: a superseded run never started, as its state shows.
"""
UNDONE = {
    "rejected": "rejected",
    "not_filled": "not filled",
    "not_sent": "not sent",
    "reduced": "reduced to the available cash",
    "lost": "not received by the broker",
    "open": "open",
    "unknown": "of unknown status",
}
"""Why a trade of the plan was not done, as a part of a sentence after a number."""
UNDONE_BY_STATE: dict[str, str] = {
    OrderState.REJECTED: "rejected",
    OrderState.CANCELLED: "not_filled",
    OrderState.EXPIRED: "not_filled",
    OrderState.LOST: "lost",
    OrderState.UNKNOWN: "unknown",
}
PLACES = Decimal("0.0001")
ORDERS_RESOLVED = "The status of its orders was unknown and is resolved now. Check the account, then close this run."
"""Message of a run that needs attention, once none of its orders is unknown any more."""


@dataclass(frozen=True)
class TradeProgress:
    """A trade of the plan and what became of it. Quantities are signed; `undone` is a key of `UNDONE`, or empty."""

    symbol: str
    quantity: Decimal
    filled: Decimal
    undone: str


def trade_progress(run: RebalanceRun, orders: Iterable[Order]) -> list[TradeProgress]:
    """Return the trades of the run's plan, then those of earlier attempts that have fills, each with its progress.

    The newest order of a symbol counts. A buy that was reduced to the available cash is done if the part left out is
    inside the drift band, in which the plan itself would have left it alone.
    """
    of_symbol: dict[str, list[Order]] = {}
    for order in sorted(orders, key=lambda order: order.sequence):
        of_symbol.setdefault(order.symbol, []).append(order)
    trades = run.result.get("trades", [])
    planned = {trade["symbol"]: Decimal(trade["quantity"]) for trade in trades}
    prices = {trade["symbol"]: Decimal(trade["price"]) for trade in trades}
    band_usd = _band_usd(run)
    rows = []
    for symbol in planned.keys() | of_symbol.keys():
        mine = of_symbol.get(symbol, [])
        filled = sum((order.filled_quantity for order in mine), Decimal(0))
        if symbol not in planned:
            if filled:
                rows.append(TradeProgress(symbol, filled, filled, ""))
            continue
        quantity = planned[symbol]
        left_usd = max(abs(quantity) - abs(filled), Decimal(0)) * prices[symbol]
        undone = _undone(mine[-1]) if mine else "not_sent"
        if not undone and left_usd > band_usd:
            undone = "reduced"
        rows.append(TradeProgress(symbol, quantity, filled, undone))
    return sorted(rows, key=lambda row: (row.quantity > 0, row.symbol))


def _undone(order: Order) -> str:
    if order.state == OrderState.FILLED:
        return ""
    if order.submitted_at is None:
        return "not_sent"
    return UNDONE_BY_STATE.get(order.state, "open")


def _band_usd(run: RebalanceRun) -> Decimal:
    band_percent = Decimal(str(run.policy.get("allocation_threshold_percent", 0)))
    return band_percent / 100 * Decimal(run.result.get("plan", {}).get("total_value_usd", 0))


def decide_outcome(run: RebalanceRun, trades: Sequence[TradeProgress]) -> str:
    """Return the outcome of a run in its present state; empty if it has none."""
    if run.state not in {RunState.COMPLETED, RunState.STOPPED, RunState.FAILED}:
        return OUTCOME_OF_STATE.get(run.state, "")
    if run.mode == RunMode.PREVIEW:
        planned = RunOutcome.DONE if trades else RunOutcome.NOTHING_TO_DO
        return planned if run.state == RunState.COMPLETED else RunOutcome.FAILED
    has_fills = any(trade.filled for trade in trades)
    causes = {trade.undone for trade in trades} - {""}
    if run.state == RunState.COMPLETED and not causes:
        return RunOutcome.DONE if trades else RunOutcome.NOTHING_TO_DO
    if run.state == RunState.STOPPED and run.error_code in GUARDS:
        return RunOutcome.STOPPED
    if run.state != RunState.FAILED and run.stop_requested_at and causes & {"not_sent", "not_filled"}:
        return RunOutcome.STOPPED
    return RunOutcome.PARTLY_DONE if has_fills else RunOutcome.FAILED


def summarize(run: RebalanceRun, orders: Collection[Order], trades: Sequence[TradeProgress]) -> dict[str, Any]:
    """Return the figures of an ended run: numbers of trades, and decimals as text.

    `amount_usd` is the value traded; of a preview, the value of its plan. `drift_before_pp` and `drift_after_pp` are
    the largest drift, cash included; without a snapshot after the orders, the latter is null. Of a preview it is the
    drift expected after the plan.
    """
    if not run.result:
        return {}
    is_preview = run.mode == RunMode.PREVIEW
    after = run.result.get("expected", {}).get("weights") if is_preview else run.report.get("weights_after")
    return {
        "planned": len(trades),
        "filled": 0 if is_preview else sum(not trade.undone for trade in trades),
        "undone": {} if is_preview else dict(Counter(trade.undone for trade in trades if trade.undone)),
        "amount_usd": f"{_planned_usd(run) if is_preview else _traded_usd(orders):.2f}",
        "drift_before_pp": _largest_drift(run, run.result.get("before", {}).get("weights")),
        "drift_after_pp": _largest_drift(run, after),
    }


def _planned_usd(run: RebalanceRun) -> Decimal:
    plan = run.result.get("plan", {})
    lines = [*plan.get("sells", []), *plan.get("buys", [])]
    return sum((abs(line["quantity"]) * Decimal(line["quote_usd"]) for line in lines), Decimal(0))


def _traded_usd(orders: Collection[Order]) -> Decimal:
    return sum((abs(order.filled_quantity) * (order.average_price_usd or Decimal(0)) for order in orders), Decimal(0))


def largest_drift(run: RebalanceRun, weights: Mapping[str, Any]) -> tuple[str, Decimal]:
    """Return the asset furthest from its target, cash included, and that drift in percentage points."""
    found, targets = stored_weights(weights), stored_weights(run.result.get("target_weights"))
    drifts = {
        symbol: abs(found.get(symbol, Decimal(0)) - targets.get(symbol, Decimal(0))) * 100
        for symbol in sorted(found.keys() | targets)
    }
    return max(drifts.items(), key=lambda drift: drift[1], default=(CASH, Decimal(0)))


def _largest_drift(run: RebalanceRun, weights: Mapping[str, Any] | None) -> str | None:
    return f"{largest_drift(run, weights)[1].quantize(PLACES)}" if weights else None


def set_outcome(run: RebalanceRun) -> None:
    """Set outcome and figures of a run from its state, plan and orders; the caller saves it."""
    orders = list(run.orders.all())
    trades = trade_progress(run, orders)
    run.outcome = decide_outcome(run, trades)
    run.summary = summarize(run, orders, trades)


def write_outcome(run: RebalanceRun) -> None:
    """Write outcome and figures of an ended run, in the caller's transaction.

    An error here does not keep the run from ending: its outcome is then that a user has to look at it.
    """
    try:
        with transaction.atomic():
            set_outcome(run)
            RebalanceRun.objects.filter(pk=run.pk).update(outcome=run.outcome, summary=run.summary)
    except Exception:
        logger.exception("The outcome of run %s could not be decided", run.run_id)
        run.outcome, run.summary = RunOutcome.NEEDS_ATTENTION, {}
        RebalanceRun.objects.filter(pk=run.pk).update(outcome=run.outcome, summary=run.summary)


def rewrite_outcomes(pks: Collection[int]) -> None:
    """Write the outcomes of those of the runs that have ended, because their orders have changed since."""
    for run in RebalanceRun.objects.filter(pk__in=pks).exclude(state__in=RunState.unfinished()):
        write_outcome(run)
        needs_closing = run.state == RunState.NEEDS_ATTENTION and run.error_code == "orders_unknown"
        if needs_closing and not any(order.is_open for order in run.orders.all()):
            RebalanceRun.objects.filter(pk=run.pk).update(error_message=ORDERS_RESOLVED)


def outcome_label(run: RebalanceRun) -> str:
    """Return the outcome of a run for people, or its state while it has none."""
    return str(RunOutcome(run.outcome).label) if run.outcome else run.get_state_display()


def orders_text(run: RebalanceRun) -> str:
    """Return how many orders of an ended run's plan were filled, and why not all; empty if it has no plan."""
    summary = run.summary
    if not summary.get("planned") or run.mode == RunMode.PREVIEW:
        return ""
    counts = f"{summary['filled']} of {summary['planned']} orders filled"
    causes = ", ".join(f"{number} {UNDONE[cause]}" for cause, number in summary["undone"].items())
    return f"{counts}: {causes}" if causes else counts


def stopped_by(run: RebalanceRun) -> str:
    """Return who stopped the run; empty if a guard did, or nobody."""
    return run.stop_requester_name if run.outcome == RunOutcome.STOPPED else ""
