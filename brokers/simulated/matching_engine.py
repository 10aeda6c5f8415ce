"""Order matching. Every change is in a transaction with the accounts' rows locked; fills become due over time.

Every access to accounts first executes the due fills. Orders of a crashed client therefore fill as they would at a
real broker, and no order is filled twice.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_CEILING, ROUND_DOWN, Decimal
from functools import partial

from django.db import transaction

from brokers.broker_types import OrderStatus, OrderType, TimeInForce
from brokers.exceptions import OrderRejected
from brokers.exchange_calendar import ExchangeCalendar, Session
from brokers.simulated.faults import Kind
from brokers.simulated.locked_accounts import MICRO, LockedAccounts
from brokers.simulated.models import SimulatedAccount, SimulatedMarket, SimulatedOrder, SimulatedPosition
from calculator import formats

RETRY_AFTER = timedelta(seconds=1)


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
def lock_accounts(account_ids: Sequence[str]) -> Iterator[LockedAccounts]:
    """Lock the accounts until the end of the block, execute what is due, and store what the block changes."""
    with transaction.atomic():
        accounts = LockedAccounts(account_ids)
        _execute_due(accounts)
        accounts.write()
        yield accounts
        accounts.write()


@contextmanager
def locked_account(account_id: str) -> Iterator[SimulatedAccount]:
    """Lock one account until the end of the block, and execute everything that is due.

    Raises:
        AccountNotManaged: There is no such account.
    """
    with lock_accounts([account_id]) as accounts:
        yield accounts.account(account_id)


@dataclass(frozen=True)
class OrderRequest:
    """An order as a client sends it. `quantity` is signed, and `limit_price` is in USD."""

    account_id: str
    symbol: str
    quantity: Decimal
    order_type: OrderType
    limit_price: Decimal | None
    client_order_id: str = ""
    time_in_force: TimeInForce = TimeInForce.DAY


def take_order(
    account_id: str,
    symbol: str,
    quantity: Decimal,
    order_type: OrderType,
    limit_price: Decimal | None,
    client_order_id: str,
    time_in_force: TimeInForce,
) -> SimulatedOrder:
    """Accept or reject an order of another client, for demonstrations and tests.

    Raises:
        OrderRejected: The order was rejected and not stored.
    """
    request = OrderRequest(account_id, symbol, quantity, order_type, limit_price, client_order_id, time_in_force)
    with lock_accounts([account_id]) as accounts:
        return accept(accounts, request)


def accept(accounts: LockedAccounts, request: OrderRequest) -> SimulatedOrder:
    """Accept or reject an order.

    Raises:
        OrderRejected: The order was rejected and not stored.
    """
    account, symbol, quantity = accounts.account(request.account_id), request.symbol, request.quantity
    check_order(accounts, request)
    scripted = partial(accounts.faults.take, account_id=request.account_id, symbol=symbol)
    if fault := scripted(Kind.REJECT):
        raise OrderRejected(fault.message or "Order rejected by the exchange.")
    latency = timedelta(seconds=accounts.market.fill_latency_seconds)
    expires = request.time_in_force is TimeInForce.DAY and not accounts.market.always_open
    at_most = None
    if fault := scripted(Kind.SLOW):
        latency = timedelta(seconds=fault.number)
    if fault := scripted(Kind.PARTIAL):
        at_most = (quantity * Decimal(str(fault.number))).to_integral_value(ROUND_DOWN)
    if scripted(Kind.NO_FILL):
        at_most = Decimal(0)
    order = SimulatedOrder(
        account=account,
        client_order_id=request.client_order_id,
        symbol=symbol,
        quantity=quantity,
        order_type=request.order_type,
        limit_price_usd=request.limit_price,
        time_in_force=request.time_in_force,
        status=OrderStatus.WORKING,
        submitted_at=accounts.now,
        next_fill_at=accounts.now + latency,
        expires_at=_session(accounts.now).closes_at if expires else None,
        fill_at_most=at_most,
    )
    accounts.add_order(order)
    return order


def cancel(account_id: str, order_id: str) -> bool:
    """Cancel an open order from elsewhere, for demonstrations and tests; return whether there is one."""
    with lock_accounts([account_id]) as accounts:
        return cancel_order(accounts, account_id, order_id)


def cancel_order(accounts: LockedAccounts, account_id: str, order_id: str) -> bool:
    """Cancel an open order.

    Returns:
        Whether an order with that id exists.
    """
    account = accounts.account(account_id)
    order = next((order for order in accounts.open_orders(account) if order.order_id == order_id), None)
    if order is None:
        return account.orders.filter(order_id=order_id).exists()
    if not accounts.faults.take(Kind.CANCEL_IGNORED, account_id, order.symbol):
        order.status, order.next_fill_at = OrderStatus.CANCELLED, None
        accounts.change_order(order)
    return True


def commission(market: SimulatedMarket, shares: Decimal, price: Decimal) -> Decimal:
    """Return the commission in USD."""
    charged = max(market.commission_minimum_usd, market.commission_per_share_usd * shares)
    return min(charged, market.commission_max_rate * shares * price).quantize(MICRO, ROUND_CEILING)


def check_order(accounts: LockedAccounts, request: OrderRequest) -> None:
    """Check an order before it is accepted.

    Raises:
        OrderRejected: The order would be rejected now.
    """
    limit_price, quantity = request.limit_price, request.quantity
    account = accounts.account(request.account_id)
    if request.symbol not in accounts.instruments:
        raise OrderRejected(f"No security definition has been found for {request.symbol}.")
    if quantity == 0 or quantity != quantity.to_integral_value():
        raise OrderRejected("Fractional-sized orders cannot be placed.")
    if request.order_type is OrderType.LIMIT and (limit_price is None or limit_price <= 0):
        raise OrderRejected("A limit order needs a positive limit price.")
    if limit_price is not None and limit_price != limit_price.quantize(Decimal("0.01")):
        raise OrderRejected("The price does not conform to the minimum price variation of 0.01.")
    if quantity < 0:
        _check_shares(accounts, account, request.symbol, -quantity)
    else:
        _check_cash(accounts, account, request.symbol, quantity, limit_price)


def _check_shares(accounts: LockedAccounts, account: SimulatedAccount, symbol: str, shares: Decimal) -> None:
    stocks = [one for one in accounts.positions(account) if one.kind == "stock" and one.currency == "USD"]
    held = next((one.quantity for one in stocks if one.symbol == symbol), Decimal(0))
    sells = [order for order in accounts.open_orders(account) if order.symbol == symbol and order.quantity < 0]
    selling = sum((abs(order.quantity - order.filled_quantity) for order in sells), Decimal(0))
    if held - selling < shares:
        raise OrderRejected(
            f"Short selling is not allowed: {formats.shares(shares)} {symbol} are not available to sell."
        )


def _check_cash(
    accounts: LockedAccounts, account: SimulatedAccount, symbol: str, shares: Decimal, limit_price: Decimal | None
) -> None:
    price = limit_price or accounts.prices([symbol])[symbol].ask or Decimal(0)
    needed = shares * price + commission(accounts.market, shares, price)
    reserved = Decimal(0)
    for order in accounts.open_orders(account):
        if order.quantity > 0:
            left, at = order.quantity - order.filled_quantity, order.limit_price_usd or price
            reserved += left * at + commission(accounts.market, left, at)
    if needed > (available := account.cash_usd - reserved):
        amounts = f"the order needs {formats.money(needed)}, and {formats.money(available)} are available"
        raise OrderRejected(f"Insufficient funds: {amounts}.")


def _session(instant: datetime) -> Session:
    return ExchangeCalendar("XNYS").session_of(instant)


def is_due(order: SimulatedOrder, now: datetime) -> bool:
    """Return whether an open order has to be filled or has expired."""
    return any(at is not None and at <= now for at in (order.next_fill_at, order.expires_at))


def _execute_due(accounts: LockedAccounts) -> None:
    for order in accounts.open_orders():
        if order.expires_at is not None and order.expires_at <= accounts.now:
            order.status, order.next_fill_at, order.message = OrderStatus.EXPIRED, None, "The session has ended."
            accounts.change_order(order)
    due = [order for order in accounts.open_orders() if is_due(order, accounts.now)]
    accounts.prices(order.symbol for order in due)
    for order in sorted(due, key=lambda order: (order.next_fill_at, order.pk)):
        _fill(accounts, order)


def _fill(accounts: LockedAccounts, order: SimulatedOrder) -> None:
    wanted = order.quantity if order.fill_at_most is None else order.fill_at_most
    shares = wanted - order.filled_quantity
    price = None
    if shares == 0:
        order.next_fill_at = None  # the order stays open without further fills
    elif not accounts.market.always_open and not _session(accounts.now).is_open_at(accounts.now):
        order.next_fill_at = _session(accounts.now).opens_at
    elif (price := _fill_price(accounts, order)) is None:
        order.next_fill_at = accounts.now + RETRY_AFTER
    accounts.change_order(order)
    if price is None:
        return
    charged = commission(accounts.market, abs(shares), price)
    order.filled_quantity += shares
    order.filled_value_usd += shares * price
    if order.filled_quantity == order.quantity:
        order.status, order.next_fill_at = OrderStatus.FILLED, None
    accounts.add_execution(order, shares, price, charged)
    accounts.add_cash(order.account, -shares * price - charged)
    accounts.add_shares(order.account, order.symbol, shares, price)


def _fill_price(accounts: LockedAccounts, order: SimulatedOrder) -> Decimal | None:
    """Return the price of the market, if the limit allows it."""
    quote = accounts.prices([order.symbol])[order.symbol]
    side = quote.ask if order.quantity > 0 else quote.bid
    limit = order.limit_price_usd
    if side is None or limit is None:
        return side
    return side if (side <= limit if order.quantity > 0 else side >= limit) else None
