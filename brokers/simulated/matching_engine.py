"""Order matching. Every change is one transaction with the account's row locked; fills become due over time.

Every access to an account first executes the due fills. Orders of a crashed client therefore fill as they would at a
real broker, and no order is filled twice.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from decimal import ROUND_CEILING, ROUND_DOWN, Decimal

from django.db import transaction
from django.utils import timezone

from brokers.broker_types import OrderStatus, OrderType, TimeInForce
from brokers.exceptions import AccountNotManaged, OrderRejected
from brokers.exchange_calendar import ExchangeCalendar, Session
from brokers.simulated.faults import Kind, take_fault
from brokers.simulated.market import get_market, market_prices
from brokers.simulated.models import (
    SimulatedAccount,
    SimulatedExecution,
    SimulatedInstrument,
    SimulatedMarket,
    SimulatedOrder,
    SimulatedPosition,
)

MICRO = Decimal("0.000001")
RETRY_AFTER = timedelta(seconds=1)
OPEN = (OrderStatus.WORKING.value,)


def open_account(account_id: str, *, cash_usd: Decimal) -> bool:
    """Open an account. An existing account is not changed.

    Returns:
        Whether the account is new.
    """
    return SimulatedAccount.objects.get_or_create(account_id=account_id, defaults={"cash_usd": cash_usd})[1]


def set_position(account_id: str, symbol: str, quantity: Decimal, **fields: object) -> None:
    """Set a position without a trade, for demonstrations and tests."""
    account = SimulatedAccount.objects.get(account_id=account_id)
    SimulatedPosition.objects.update_or_create(
        account=account,
        contract_id=str(fields.pop("contract_id", f"US:{symbol}")),
        defaults={"symbol": symbol, "quantity": quantity, **fields},
    )


@contextmanager
def locked_account(account_id: str) -> Iterator[SimulatedAccount]:
    """Lock the account until the end of the block, and execute everything that is due.

    Raises:
        AccountNotManaged: There is no such account.
    """
    with transaction.atomic():
        account = SimulatedAccount.objects.select_for_update().filter(account_id=account_id).first()
        if account is None:
            raise AccountNotManaged(
                f"The simulated broker has no account {account_id}. Import the account or save it again."
            )
        _execute_due(account)
        yield account


def take_order(
    account_id: str,
    symbol: str,
    quantity: Decimal,
    order_type: OrderType,
    limit_price: Decimal | None,
    client_order_id: str,
    time_in_force: TimeInForce,
) -> SimulatedOrder:
    """Accept or reject an order.

    Raises:
        OrderRejected: The order was rejected and not stored.
    """
    with locked_account(account_id) as account:
        _check_order(account, symbol, quantity, order_type, limit_price)
        if fault := take_fault(Kind.REJECT, account_id, symbol):
            raise OrderRejected(fault.message or "Order rejected by the exchange.")
        now, market = timezone.now(), get_market()
        latency = timedelta(seconds=market.fill_latency_seconds)
        expires = time_in_force is TimeInForce.DAY and not market.always_open
        at_most = None
        if fault := take_fault(Kind.SLOW, account_id, symbol):
            latency = timedelta(seconds=fault.number)
        if fault := take_fault(Kind.PARTIAL, account_id, symbol):
            at_most = (quantity * Decimal(str(fault.number))).to_integral_value(ROUND_DOWN)
        if take_fault(Kind.NO_FILL, account_id, symbol):
            at_most = Decimal(0)
        return SimulatedOrder.objects.create(
            account=account,
            client_order_id=client_order_id,
            symbol=symbol,
            quantity=quantity,
            order_type=order_type,
            limit_price_usd=limit_price,
            time_in_force=time_in_force,
            status=OrderStatus.WORKING,
            submitted_at=now,
            next_fill_at=now + latency,
            expires_at=_session(now).closes_at if expires else None,
            fill_at_most=at_most,
        )


def cancel(account_id: str, order_id: str) -> bool:
    """Cancel an open order.

    Returns:
        Whether an order with that id exists.
    """
    with locked_account(account_id) as account:
        order = account.orders.filter(order_id=order_id).first()
        if order is None:
            return False
        if order.status in OPEN and not take_fault(Kind.CANCEL_IGNORED, account_id, order.symbol):
            order.status, order.next_fill_at = OrderStatus.CANCELLED, None
            order.save(update_fields=("status", "next_fill_at"))
        return True


def would_take(account_id: str, symbol: str, quantity: Decimal, price: Decimal) -> str:
    """Return why the order would be rejected now; empty if it would be accepted."""
    with locked_account(account_id) as account:
        try:
            _check_order(account, symbol, quantity, OrderType.LIMIT, price)
        except OrderRejected as refusal:
            return refusal.message
    return ""


def commission(market: SimulatedMarket, shares: Decimal, price: Decimal) -> Decimal:
    """Return the commission in USD."""
    charged = max(market.commission_minimum_usd, market.commission_per_share_usd * shares)
    return min(charged, market.commission_max_rate * shares * price).quantize(MICRO, ROUND_CEILING)


def _check_order(
    account: SimulatedAccount, symbol: str, quantity: Decimal, order_type: OrderType, limit_price: Decimal | None
) -> None:
    if not SimulatedInstrument.objects.filter(symbol=symbol).exists():
        raise OrderRejected(f"No security definition has been found for {symbol}.")
    if quantity == 0 or quantity != quantity.to_integral_value():
        raise OrderRejected("Fractional-sized orders cannot be placed.")
    if order_type is OrderType.LIMIT and (limit_price is None or limit_price <= 0):
        raise OrderRejected("A limit order needs a positive limit price.")
    if limit_price is not None and limit_price != limit_price.quantize(Decimal("0.01")):
        raise OrderRejected("The price does not conform to the minimum price variation of 0.01.")
    if quantity < 0:
        _check_shares(account, symbol, -quantity)
    else:
        _check_cash(account, symbol, quantity, limit_price)


def _check_shares(account: SimulatedAccount, symbol: str, shares: Decimal) -> None:
    held = account.positions.filter(symbol=symbol, kind="stock", currency="USD").first()
    sells = account.orders.filter(status__in=OPEN, symbol=symbol, quantity__lt=0)
    selling = sum((abs(order.quantity - order.filled_quantity) for order in sells), Decimal(0))
    if held is None or held.quantity - selling < shares:
        raise OrderRejected(f"Short selling is not allowed: {shares.normalize():f} {symbol} are not available to sell.")


def _check_cash(account: SimulatedAccount, symbol: str, shares: Decimal, limit_price: Decimal | None) -> None:
    market = get_market()
    price = limit_price or market_prices([symbol])[symbol].ask or Decimal(0)
    needed = shares * price + commission(market, shares, price)
    reserved = Decimal(0)
    for order in account.orders.filter(status__in=OPEN, quantity__gt=0):
        left, at = order.quantity - order.filled_quantity, order.limit_price_usd or price
        reserved += left * at + commission(market, left, at)
    if needed > account.cash_usd - reserved:
        raise OrderRejected(
            f"Insufficient funds: the order needs ${needed:.2f}, and ${account.cash_usd - reserved:.2f} are available."
        )


def _session(instant: datetime) -> Session:
    return ExchangeCalendar("XNYS").session_of(instant)


def _execute_due(account: SimulatedAccount) -> None:
    now = timezone.now()
    account.orders.filter(status__in=OPEN, expires_at__lte=now).update(
        status=OrderStatus.EXPIRED, next_fill_at=None, message="The session has ended."
    )
    for order in account.orders.filter(status__in=OPEN, next_fill_at__lte=now).order_by("next_fill_at", "id"):
        _fill(account, order, now)


def _fill(account: SimulatedAccount, order: SimulatedOrder, now: datetime) -> None:
    wanted = order.quantity if order.fill_at_most is None else order.fill_at_most
    shares = wanted - order.filled_quantity
    price = None
    if shares == 0:
        order.next_fill_at = None  # the order stays open without further fills
    elif not get_market().always_open and not _session(now).is_open_at(now):
        order.next_fill_at = _session(now).opens_at
    elif (price := _fill_price(order, now)) is None:
        order.next_fill_at = now + RETRY_AFTER
    if price is None:
        order.save(update_fields=("next_fill_at",))
        return
    charged = commission(get_market(), abs(shares), price)
    SimulatedExecution.objects.create(
        order=order,
        execution_id=f"{order.order_id}.{order.executions.count() + 1}",
        quantity=shares,
        price_usd=price,
        commission_usd=charged,
        executed_at=now,
    )
    order.filled_quantity += shares
    order.filled_value_usd += shares * price
    if order.filled_quantity == order.quantity:
        order.status, order.next_fill_at = OrderStatus.FILLED, None
    order.save(update_fields=("filled_quantity", "filled_value_usd", "status", "next_fill_at"))
    account.cash_usd -= shares * price + charged
    account.save(update_fields=("cash_usd",))
    _update_position(account, order.symbol, shares, price)


def _fill_price(order: SimulatedOrder, now: datetime) -> Decimal | None:
    """Return the price of the market, if the limit allows it."""
    quote = market_prices([order.symbol], now)[order.symbol]
    side = quote.ask if order.quantity > 0 else quote.bid
    limit = order.limit_price_usd
    if side is None or limit is None:
        return side
    return side if (side <= limit if order.quantity > 0 else side >= limit) else None


def _update_position(account: SimulatedAccount, symbol: str, shares: Decimal, price: Decimal) -> None:
    position, _ = SimulatedPosition.objects.get_or_create(
        account=account, contract_id=f"US:{symbol}", defaults={"symbol": symbol, "quantity": Decimal(0)}
    )
    if shares > 0:
        cost = position.quantity * position.average_cost_usd + shares * price
        position.average_cost_usd = (cost / (position.quantity + shares)).quantize(MICRO)
    position.quantity += shares
    if position.quantity == 0:
        position.delete()
    else:
        position.save(update_fields=("quantity", "average_cost_usd"))
