"""A connector as somebody else would write it: the smallest that keeps the whole contract. Its broker is a dictionary."""

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal

from brokers.base import BrokerClient
from brokers.broker_types import (
    AccountPosition,
    AccountSnapshot,
    BrokerCapabilities,
    ContractPrice,
    Execution,
    OpenOrder,
    OrderResult,
    OrderStatus,
    OrderType,
    TimeInForce,
)
from brokers.exceptions import (
    AccountNotManaged,
    BrokerConnectionError,
    BrokerSilent,
    OrderExecutionError,
    OrderOutcomeUnknown,
    OrderRejected,
)

PRICES = {"SPY": Decimal(100), "IEF": Decimal(50)}


@dataclass
class ToyBooks:
    """The broker itself, which outlives every link to it."""

    cash: Decimal = Decimal(100_000)
    shares: dict[str, Decimal] = field(default_factory=lambda: {"SPY": Decimal(10)})
    orders: list[OrderResult] = field(default_factory=list)
    limits: dict[str, Decimal] = field(default_factory=dict)
    executions: list[Execution] = field(default_factory=list)
    faults: set[tuple[str, str]] = field(default_factory=set)

    def takes_fault(self, what, symbol=""):
        """Whether a fault was scripted; it happens once."""
        hit = (what, symbol) in self.faults
        self.faults.discard((what, symbol))
        return hit


class ToyBroker(BrokerClient):
    """One link to the dictionary."""

    name = "toy"
    capabilities = BrokerCapabilities(
        order_types=frozenset({OrderType.LIMIT}), times_in_force=frozenset({TimeInForce.DAY})
    )
    books = ToyBooks()
    _up = False

    async def connect(self):
        self._up = True
        self._queues = []

    async def disconnect(self):
        self._up = False
        for queue in getattr(self, "_queues", ()):
            queue.put_nowait(None)

    @property
    def is_connected(self):
        return self._up

    def _check(self, account_id):
        if not self._up:
            raise BrokerConnectionError("The link is closed.")
        if account_id not in self.settings.account_ids:
            raise AccountNotManaged(f"This link does not serve account {account_id}.")

    async def get_account_snapshot(self, account_id, *, use_cached_prices=False):
        self._check(account_id)
        if self.books.takes_fault("mute"):
            await asyncio.sleep(self.settings.request_timeout_seconds)
            raise BrokerSilent("No answer.")
        positions = tuple(
            AccountPosition(symbol=symbol, quantity=shares, market_price=PRICES[symbol], contract_id=symbol)
            for symbol, shares in self.books.shares.items()
        )
        value = self.books.cash + sum(one.quantity * one.market_price for one in positions)
        return AccountSnapshot(
            account_id=account_id,
            total_value_usd=value,
            cash_usd=self.books.cash,
            positions=positions,
            as_of=datetime.now(UTC),
        )

    async def _fetch_prices(self, symbols):
        now = datetime.now(UTC)
        return {
            symbol: ContractPrice(symbol=symbol, bid=PRICES[symbol], ask=PRICES[symbol] + Decimal("0.01"), as_of=now)
            for symbol in symbols
            if symbol in PRICES and not self.books.takes_fault("missing_quote", symbol)
        }

    async def unknown_symbols(self, symbols):
        return tuple(symbol for symbol in symbols if symbol not in PRICES)

    async def place_order(
        self, account_id, symbol, quantity, order_type, price, *, client_order_id, time_in_force=TimeInForce.DAY
    ):
        self._check(account_id)
        await asyncio.sleep(0)  # nothing comes back from a broker in the same moment
        if self.books.takes_fault("reject", symbol):
            raise OrderRejected("The toy broker does not like it.")
        if self.books.takes_fault("drop", symbol):
            await self.disconnect()
            raise OrderOutcomeUnknown("The link dropped.")
        if self.books.takes_fault("lost", symbol):
            raise OrderOutcomeUnknown("No answer.")
        number = str(len(self.books.orders))
        order = OrderResult(
            account_id=account_id,
            symbol=symbol,
            quantity=quantity,
            status=OrderStatus.WORKING,
            order_id=number,
            permanent_id=number,
            client_order_id=client_order_id,
        )
        self.books.orders.append(order)
        self.books.limits[number] = price
        self._tell(order)
        if (price - PRICES[symbol]) * quantity >= 0:
            self._fill(order, quantity // 2 if self.books.takes_fault("partial", symbol) else quantity)
        if self.books.takes_fault("silent", symbol):
            raise OrderOutcomeUnknown("No answer.")
        return order

    def _fill(self, order, quantity):
        price = PRICES[order.symbol]
        self.books.cash -= quantity * price + 1
        self.books.shares[order.symbol] = self.books.shares.get(order.symbol, Decimal(0)) + quantity
        fill = Execution(
            execution_id=f"e{len(self.books.executions)}",
            account_id=order.account_id,
            symbol=order.symbol,
            quantity=quantity,
            price_usd=price,
            commission_usd=Decimal(1),
            executed_at=datetime.now(UTC),
            order_id=order.order_id,
            client_order_id=order.client_order_id,
        )
        self.books.executions.append(fill)
        self._tell(fill)
        status = OrderStatus.FILLED if quantity == order.quantity else OrderStatus.WORKING
        self._change(order, filled_quantity=quantity, average_price=price, status=status)

    def _change(self, order, **changes):
        changed = order.model_copy(update=changes)
        self.books.orders[int(order.order_id)] = changed
        self._tell(changed)

    def _tell(self, update):
        for queue in self._queues:
            queue.put_nowait(update)

    async def cancel_order(self, account_id, order_id):
        self._check(account_id)
        found = await self.get_order_status(account_id, order_id)
        if found.status is not OrderStatus.WORKING:
            raise OrderExecutionError("There is nothing to cancel.")
        self._change(found, status=OrderStatus.CANCELLED)

    async def get_open_orders(self, account_id):
        self._check(account_id)
        return [
            OpenOrder(
                account_id=account_id,
                symbol=order.symbol,
                quantity=order.quantity,
                remaining_quantity=order.quantity - order.filled_quantity,
                order_type=OrderType.LIMIT,
                limit_price=self.books.limits[order.order_id],
                order_id=order.order_id,
                client_order_id=order.client_order_id,
            )
            for order in self.books.orders
            if order.status is OrderStatus.WORKING
        ]

    async def get_order_status(self, account_id, order_id):
        self._check(account_id)
        unknown = OrderResult(
            account_id=account_id, symbol="", quantity=Decimal(0), status=OrderStatus.NOT_FOUND, order_id=order_id
        )
        return next((order for order in self.books.orders if order.order_id == order_id), unknown)

    async def find_order(self, account_id, client_order_id):
        self._check(account_id)
        return next((order for order in self.books.orders if order.client_order_id == client_order_id), None)

    async def get_executions(self, account_id, *, since, client_order_id=None):
        self._check(account_id)
        return [
            fill
            for fill in self.books.executions
            if fill.executed_at >= since and client_order_id in {None, fill.client_order_id}
        ]

    def order_updates(self):
        queue = asyncio.Queue()
        self._queues.append(queue)
        return self._updates(queue)

    async def _updates(self, queue):
        while (update := await queue.get()) is not None:
            yield update
        raise BrokerConnectionError("The link is closed.")
