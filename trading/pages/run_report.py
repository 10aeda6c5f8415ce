from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from trading.models import Order, RebalanceRun, RunStep

BPS = 10_000


@dataclass(frozen=True)
class OrderRow:
    """An order of the run, submitted or planned. Negative slippage is a price better than the quote."""

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
    commission_usd: Decimal
    slippage_bps: Decimal | None
    is_open: bool


def order_rows(run: RebalanceRun, orders: Sequence[Order]) -> list[OrderRow]:
    """Return the orders of a run, followed by planned buys that wait for the sells."""
    rows = [_row(order) for order in orders]
    if run.step == RunStep.SELLS and not run.is_finished:
        rows += [_waiting(line) for line in run.result.get("plan", {}).get("buys", [])]
    return rows


def _row(order: Order) -> OrderRow:
    return OrderRow(
        sequence=order.sequence,
        symbol=order.symbol,
        is_sell=order.is_sell,
        shares=order.shares,
        filled_shares=order.filled_shares,
        price=order.average_price_usd or order.decision_price_usd,
        quote=order.decision_price_usd,
        is_estimate=order.average_price_usd is None,
        state=order.state,
        label="Waiting" if order.state == "planned" else order.get_state_display(),
        message=order.message,
        commission_usd=order.commission_usd,
        slippage_bps=slippage_bps(order),
        is_open=order.is_open,
    )


def _waiting(line: dict[str, Any]) -> OrderRow:
    """Return the row of an order that does not exist yet."""
    quantity, quote = Decimal(line["quantity"]), Decimal(line["quote_usd"])
    return _row(Order(sequence=0, symbol=line["symbol"], quantity=quantity, decision_price_usd=quote))


def slippage_bps(order: Order) -> Decimal | None:
    """Return the slippage of an order against its decision quote, in basis points; positive is worse."""
    if order.average_price_usd is None or not order.decision_price_usd:
        return None
    worse = order.average_price_usd - order.decision_price_usd
    return (-worse if order.is_sell else worse) / order.decision_price_usd * BPS


def run_report(run: RebalanceRun, orders: Sequence[Order]) -> dict[str, Any]:
    """Return the figures of a finished run."""
    cost = sum(
        (
            (order.average_price_usd - order.decision_price_usd) * order.filled_quantity
            for order in orders
            if order.average_price_usd is not None and order.decision_price_usd
        ),
        Decimal(0),
    )
    return {
        "slippage_usd": cost,
        "commission_usd": Decimal(run.report["commission_usd"]),
        "cash_usd": Decimal(run.report["cash_usd"]),
        "total_value_usd": Decimal(run.report["total_value_usd"]),
        "drift_before": Decimal(run.report["residual_drift_before"]) * 100,
        "drift_after": Decimal(run.report["residual_drift_after"]) * 100,
        "not_filled": [order for order in orders if order.state != "filled"],
    }
