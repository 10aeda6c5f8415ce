"""Conversion of rows to the types of the broker layer."""

from collections.abc import Mapping, Sequence
from decimal import Decimal

from django.utils import timezone

from brokers.broker_types import (
    AccountPosition,
    AccountSnapshot,
    ContractPrice,
    Execution,
    OpenOrder,
    OrderResult,
    OrderStatus,
    OrderType,
    SecurityKind,
)
from brokers.simulated.models import SimulatedAccount, SimulatedExecution, SimulatedOrder, SimulatedPosition


def snapshot(
    account: SimulatedAccount, positions: Sequence[SimulatedPosition], prices: Mapping[str, ContractPrice]
) -> AccountSnapshot:
    """Return the account with positions marked at mid price."""
    mapped = tuple(_position(position, prices.get(position.symbol)) for position in positions)
    value = sum((position.quantity * (position.market_price or Decimal(0)) for position in mapped), account.cash_usd)
    return AccountSnapshot(
        account_id=account.account_id,
        total_value_usd=value,
        cash_usd=account.cash_usd,
        positions=mapped,
        as_of=timezone.now(),
    )


def _position(position: SimulatedPosition, price: ContractPrice | None) -> AccountPosition:
    mark = position.own_mark_usd
    if mark is None and price is not None and price.bid is not None and price.ask is not None:
        mark = (price.bid + price.ask) / 2
    return AccountPosition(
        symbol=position.symbol,
        quantity=position.quantity,
        market_price=mark,
        average_cost=position.average_cost_usd,
        contract_id=position.contract_id,
        kind=SecurityKind(position.kind),
        currency=position.currency,
    )


def order_result(order: SimulatedOrder) -> OrderResult:
    """Return the state of an order."""
    filled = order.filled_quantity
    return OrderResult(
        account_id=order.account.account_id,
        symbol=order.symbol,
        quantity=order.quantity,
        filled_quantity=filled,
        average_price=(order.filled_value_usd / filled).quantize(Decimal("0.000001")) if filled else None,
        status=OrderStatus(order.status),
        order_id=order.order_id,
        permanent_id=order.order_id,
        client_order_id=order.client_order_id,
        message=order.message,
    )


def open_order(order: SimulatedOrder) -> OpenOrder:
    """Return an order as an open order."""
    return OpenOrder(
        account_id=order.account.account_id,
        symbol=order.symbol,
        quantity=order.quantity,
        remaining_quantity=order.quantity - order.filled_quantity,
        order_type=OrderType(order.order_type),
        limit_price=order.limit_price_usd,
        order_id=order.order_id,
        permanent_id=order.order_id,
        client_order_id=order.client_order_id,
    )


def execution(fill: SimulatedExecution) -> Execution:
    """Return a fill as an execution."""
    return Execution(
        execution_id=fill.execution_id,
        account_id=fill.order.account.account_id,
        symbol=fill.order.symbol,
        quantity=fill.quantity,
        price_usd=fill.price_usd,
        commission_usd=fill.commission_usd,
        executed_at=fill.executed_at,
        order_id=fill.order.order_id,
        permanent_id=fill.order.order_id,
        client_order_id=fill.order.client_order_id,
    )
