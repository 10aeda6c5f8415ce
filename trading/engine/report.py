"""What came of a run: weights before and after, fills against the quotes of the decision, what is left open."""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

from brokers.broker_types import AccountSnapshot
from calculator import TradeCalculationResult
from calculator.projection import CASH, residual_drift
from trading.journal.orders import OrderView
from trading.models import OrderState
from trading.models.run_documents import RunWarning
from trading.planning.account_state import held_shares

PLACES = Decimal("0.00000001")


def make_report(
    result: TradeCalculationResult,
    after: AccountSnapshot,
    orders: Sequence[OrderView],
) -> tuple[dict[str, Any], list[RunWarning]]:
    """The report of a run as it is stored, and warnings about orders that did not do what was planned."""
    weights = weights_of(after)
    report = {
        "weights_after": {symbol: f"{weight:f}" for symbol, weight in weights.items()},
        "residual_drift_before": f"{result.residual_drift_before:f}",
        "residual_drift_after": f"{residual_drift(weights, result.target_weights):f}",
        "commission_usd": f"{sum((order.commission for order in orders), Decimal(0)):f}",
        "cash_usd": f"{after.cash_usd:f}",
        "total_value_usd": f"{after.total_value_usd:f}",
    }
    return report, list(_warnings(orders))


def weights_of(snapshot: AccountSnapshot) -> dict[str, Decimal]:
    """Weight of each symbol and of cash in the account's value; without value there are none."""
    total = snapshot.total_value_usd
    if total <= 0:
        return {}
    marks = {position.symbol: position.market_price for position in snapshot.positions if position.is_us_stock}
    weights = {
        symbol: (quantity * (marks[symbol] or Decimal(0)) / total).quantize(PLACES)
        for symbol, quantity in sorted(held_shares(snapshot).items())
    }
    weights[CASH] = (snapshot.cash_usd / total).quantize(PLACES)
    return weights


def _warnings(orders: Sequence[OrderView]) -> Iterable[RunWarning]:
    for order in orders:
        shares = f"{abs(order.quantity):f}".rstrip("0").rstrip(".")
        what = f"{'SELL' if order.quantity < 0 else 'BUY'} {shares} {order.symbol}"
        if order.state == OrderState.REJECTED:
            yield RunWarning(code="order_rejected", message=f"{what} was refused by the broker: {order.message}")
        elif order.submitted_at is None and order.state == OrderState.CANCELLED:
            yield RunWarning(code="order_not_sent", message=f"{what}: {order.message}")
        elif order.submitted_at is not None and order.remaining:
            filled = f"{abs(order.filled_quantity):f}".rstrip("0").rstrip(".") or "0"
            yield RunWarning(
                code="order_not_filled", message=f"{what}: {filled} filled before its end ({order.state})."
            )
