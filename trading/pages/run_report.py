"""The orders of a run with their fills, and the figures of its report. Costs are positive everywhere: + is worse."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from trading.journal.outcomes import largest_drift
from trading.models import Order, RebalanceRun, RunStep
from trading.pages.charts import asset_label

BPS = 10_000


@dataclass(frozen=True)
class OrderRow:
    """An order of the run, submitted or planned. Slippage is a cost; a price better than the quote is negative."""

    sequence: int
    symbol: str
    is_sell: bool
    shares: Decimal
    filled_shares: Decimal
    price: Decimal | None
    quote: Decimal | None
    is_estimate: bool
    state: str
    label: str
    message: str
    commission_usd: Decimal | None
    slippage_bps: Decimal | None
    is_open: bool


def order_rows(run: RebalanceRun, orders: Sequence[Order]) -> list[OrderRow]:
    """Return the orders of a run, followed by planned buys that wait for the sells."""
    rows = [_row(order, is_finished=run.is_finished) for order in orders]
    if run.step == RunStep.SELLS and not run.is_finished:
        rows += [_waiting(line) for line in run.result.get("plan", {}).get("buys", [])]
    return rows


def _row(order: Order, *, is_finished: bool) -> OrderRow:
    """Return the row of an order. Once the run has ended, an order without a fill has no price and no commission."""
    is_filled = order.average_price_usd is not None and bool(order.filled_quantity)
    estimate = None if is_finished else order.decision_price_usd
    return OrderRow(
        sequence=order.sequence,
        symbol=order.symbol,
        is_sell=order.is_sell,
        shares=order.shares,
        filled_shares=order.filled_shares,
        price=order.average_price_usd if is_filled else estimate,
        quote=order.decision_price_usd,
        is_estimate=not is_filled and estimate is not None,
        state=order.state,
        label="Waiting" if order.state == "planned" else order.get_state_display(),
        message=order.message,
        commission_usd=order.commission_usd if is_filled else None,
        slippage_bps=slippage_bps(order),
        is_open=order.is_open,
    )


def _waiting(line: dict[str, Any]) -> OrderRow:
    """Return the row of an order that does not exist yet."""
    quantity, quote = Decimal(line["quantity"]), Decimal(line["quote_usd"])
    order = Order(sequence=0, symbol=line["symbol"], quantity=quantity, decision_price_usd=quote)
    return _row(order, is_finished=False)


def slippage_bps(order: Order) -> Decimal | None:
    """Return the slippage of an order against its decision quote, in basis points; positive is a cost."""
    if order.average_price_usd is None or not order.decision_price_usd or not order.filled_quantity:
        return None
    worse = order.average_price_usd - order.decision_price_usd
    return (-worse if order.is_sell else worse) / order.decision_price_usd * BPS


def run_report(run: RebalanceRun, orders: Sequence[Order]) -> dict[str, Any]:
    """Return the figures of a finished run: amounts in US dollars, drifts in percentage points."""
    filled = [
        (order.filled_quantity, order.average_price_usd, order.decision_price_usd)
        for order in orders
        if order.average_price_usd is not None and order.filled_quantity
    ]
    cost = sum(((price - quote) * shares for shares, price, quote in filled if quote), Decimal(0))
    quoted = sum((abs(shares) * quote for shares, _, quote in filled if quote), Decimal(0))
    symbol, largest = largest_drift(run, run.report["weights_after"])
    _, largest_before = largest_drift(run, run.result["before"]["weights"])
    return {
        "slippage_usd": cost,
        "slippage_bps": cost / quoted * BPS if quoted else None,
        "commission_usd": Decimal(run.report["commission_usd"]),
        "filled_orders": len(filled),
        "cash_usd": Decimal(run.report["cash_usd"]),
        "total_value_usd": Decimal(run.report["total_value_usd"]),
        "largest_drift": largest,
        "largest_drift_before": largest_before,
        "largest_drift_label": asset_label(symbol),
        "half_sum": Decimal(run.report["residual_drift_after"]) * 100,
    }
