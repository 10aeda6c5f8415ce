"""The report of a run: weights before and after, commissions, and orders that were not filled as planned."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from brokers.base import BrokerClient
from brokers.broker_types import AccountSnapshot
from calculator import Trade, TradeCalculationResult
from calculator.formats import shares
from calculator.plan_types import CASH
from calculator.projection import residual_drift
from trading.errors import NeedsAttention
from trading.journal.orders import OrderView
from trading.models import OrderState
from trading.models.orders import trade_text
from trading.models.run_documents import RunWarning, stored_weights
from trading.planning.account_state import held_shares

PLACES = Decimal("0.00000001")
POSITIONS_POLL_SECONDS = 0.5
"""Interval between two account snapshots, in seconds: brokers send positions late, and nothing announces them."""


async def snapshot_after(
    client: BrokerClient, account_id: str, before: AccountSnapshot, orders: Sequence[OrderView], timeout_seconds: float
) -> AccountSnapshot:
    """Return the account as soon as its positions include the fills of the orders.

    Raises:
        NeedsAttention: the positions do not match the fills within the timeout; `positions_late` if only fills of
            these orders are missing, else `positions_disagree`.
    """
    held = held_shares(before.positions)
    expected = dict(held)
    for order in orders:
        expected[order.symbol] = expected.get(order.symbol, Decimal(0)) + order.filled_quantity
    expected = {symbol: quantity for symbol, quantity in expected.items() if quantity}
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_seconds
    while True:
        after = await client.get_account_snapshot(account_id)
        if held_shares(after.positions) == expected:
            return after
        if loop.time() > deadline:
            raise positions_mismatch(held, expected, held_shares(after.positions))
        await asyncio.sleep(POSITIONS_POLL_SECONDS)


def positions_mismatch(
    held: Mapping[str, Decimal], expected: Mapping[str, Decimal], reported: Mapping[str, Decimal]
) -> NeedsAttention:
    """Return the error for positions that lag behind our own fills, or that another client has changed."""
    symbols = sorted(held.keys() | expected.keys() | reported.keys())
    shares = {name: [one.get(name, Decimal(0)) for one in (held, expected, reported)] for name in symbols}
    different = {name: amounts for name, amounts in shares.items() if amounts[1] != amounts[2]}
    named = ", ".join(f"{name} {now:f} instead of {wanted:f}" for name, (_, wanted, now) in different.items())
    if all(min(was, wanted) <= now <= max(was, wanted) for was, wanted, now in different.values()):
        return NeedsAttention(
            "positions_late",
            f"The broker's positions do not include all fills of this run yet ({named}). The fills are recorded. "
            "Preview the account again when the broker shows them.",
        )
    return NeedsAttention(
        "positions_disagree",
        f"The broker's positions do not match the fills ({named}): another client traded, or a fill is missing. "
        "Check the account, then preview it again.",
    )


def make_report(
    result: TradeCalculationResult, after: AccountSnapshot, orders: Sequence[OrderView]
) -> tuple[dict[str, Any], list[RunWarning]]:
    """Return the report as it is stored, and warnings about orders that were not filled as planned."""
    weights = weights_of(after)
    report = {
        "weights_after": {symbol: f"{weight:f}" for symbol, weight in weights.items()},
        "residual_drift_before": f"{result.residual_drift_before:f}",
        "residual_drift_after": f"{residual_drift(weights, stored_weights(result.target_weights)):f}",
        "commission_usd": f"{sum((order.commission for order in orders), Decimal(0)):f}",
        "cash_usd": f"{after.cash_usd:f}",
        "total_value_usd": f"{after.total_value_usd:f}",
    }
    return report, list(_warnings(orders))


def trades_left(trades: Sequence[Trade], orders: Sequence[OrderView]) -> list[str]:
    """Return what a stopped run has left to do: the part of each trade that was not sent, or was cancelled."""
    by_symbol = {order.symbol: order for order in orders}
    left = []
    for trade in trades:
        order = by_symbol.get(trade.symbol)
        quantity = Decimal(trade.quantity) if order is None else order.remaining
        if quantity and (order is None or order.state == OrderState.CANCELLED):
            left.append(trade_text(quantity, trade.symbol))
    return left


def weights_of(snapshot: AccountSnapshot) -> dict[str, Decimal]:
    """Return the weight of each symbol and of cash in the account's value; none if it has no value."""
    total = snapshot.total_value_usd
    if total <= 0:
        return {}
    marks = {position.symbol: position.market_price for position in snapshot.positions if position.is_us_stock}
    weights = {
        symbol: (quantity * (marks[symbol] or Decimal(0)) / total).quantize(PLACES)
        for symbol, quantity in sorted(held_shares(snapshot.positions).items())
    }
    weights[CASH] = (snapshot.cash_usd / total).quantize(PLACES)
    return weights


def _warnings(orders: Sequence[OrderView]) -> Iterable[RunWarning]:
    for order in orders:
        if order.state == OrderState.REJECTED:
            yield RunWarning(code="order_rejected", message=f"{order} was rejected by the broker: {order.message}")
        elif order.submitted_at is None and order.state == OrderState.CANCELLED:
            yield RunWarning(code="order_not_sent", message=f"{order}: {order.message}")
        elif order.submitted_at is not None and order.remaining:
            filled = shares(abs(order.filled_quantity))
            yield RunWarning(
                code="order_not_filled", message=f"{order}: {filled} shares filled, the rest {order.state}."
            )
