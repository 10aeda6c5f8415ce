"""A minimal third-party connector that fulfills the contract. Its broker is an object in memory."""

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
from calculator import Commission

PRICES = {"SPY": Decimal(100), "IEF": Decimal(50)}


@dataclass
class ToyRecords:
    """The broker's records, which outlive every connection."""

    cash: Decimal = Decimal(100_000)
    shares: dict[str, Decimal] = field(default_factory=lambda: {"SPY": Decimal(10)})
    orders: list[OrderResult] = field(default_factory=list)
    limits: dict[str, Decimal] = field(default_factory=dict)
    executions: list[Execution] = field(default_factory=list)
    faults: set[tuple[str, str]] = field(default_factory=set)

    def take_fault(self, what, symbol=""):
        """Return whether a fault was scripted, and use it up."""
        hit = (what, symbol) in self.faults
        self.faults.discard((what, symbol))
        return hit


class ToyBroker(BrokerClient):
    """One connection to the records."""

    name = "toy"
    usual_commission = Commission(kind="per_share")
    capabilities = BrokerCapabilities(
        order_types=frozenset({OrderType.LIMIT}), times_in_force=frozenset({TimeInForce.DAY})
    )
    records = ToyRecords()
    _connected = False

    async def connect(self):
        self._connected = True
        self._queues = []

    async def disconnect(self):
        self._connected = False
        for queue in getattr(self, "_queues", ()):
            queue.put_nowait(None)

    @property
    def is_connected(self):
        return self._connected

    def _check(self, account_id):
        if not self._connected:
            raise BrokerConnectionError("The connection is closed.")
        if account_id not in self.settings.account_ids:
            raise AccountNotManaged(f"This connection does not serve account {account_id}.")

    async def get_account_snapshot(self, account_id, *, use_cached_prices=False):
        self._check(account_id)
        if self.records.take_fault("mute"):
            await asyncio.sleep(self.settings.request_timeout_seconds)
            raise BrokerSilent("No response.")
        positions = tuple(
            AccountPosition(symbol=symbol, quantity=shares, market_price=PRICES[symbol], contract_id=symbol)
            for symbol, shares in self.records.shares.items()
        )
        value = self.records.cash + sum(one.quantity * one.market_price for one in positions)
        return AccountSnapshot(
            account_id=account_id,
            total_value_usd=value,
            cash_usd=self.records.cash,
            positions=positions,
            as_of=datetime.now(UTC),
        )

    async def _fetch_prices(self, symbols):
        now = datetime.now(UTC)
        return {
            symbol: ContractPrice(symbol=symbol, bid=PRICES[symbol], ask=PRICES[symbol] + Decimal("0.01"), as_of=now)
            for symbol in symbols
            if symbol in PRICES and not self.records.take_fault("missing_quote", symbol)
        }

    async def unknown_symbols(self, symbols):
        return tuple(symbol for symbol in symbols if symbol not in PRICES)

    async def place_order(
        self, account_id, symbol, quantity, order_type, price, *, client_order_id, time_in_force=TimeInForce.DAY
    ):
        self._check(account_id)
        await asyncio.sleep(0)  # a broker does not respond immediately
        if self.records.take_fault("reject", symbol):
            raise OrderRejected("The toy broker rejected the order.")
        if self.records.take_fault("drop", symbol):
            await self.disconnect()
            raise OrderOutcomeUnknown("The connection was lost.")
        if self.records.take_fault("lost", symbol):
            raise OrderOutcomeUnknown("No response.")
        number = str(len(self.records.orders))
        order = OrderResult(
            account_id=account_id,
            symbol=symbol,
            quantity=quantity,
            status=OrderStatus.WORKING,
            order_id=number,
            permanent_id=number,
            client_order_id=client_order_id,
        )
        self.records.orders.append(order)
        self.records.limits[number] = price
        self._publish(order)
        if (price - PRICES[symbol]) * quantity >= 0:
            self._fill(order, quantity // 2 if self.records.take_fault("partial", symbol) else quantity)
        if self.records.take_fault("silent", symbol):
            raise OrderOutcomeUnknown("No response.")
        return order

    def _fill(self, order, quantity):
        price = PRICES[order.symbol]
        self.records.cash -= quantity * price + 1
        self.records.shares[order.symbol] = self.records.shares.get(order.symbol, Decimal(0)) + quantity
        fill = Execution(
            execution_id=f"e{len(self.records.executions)}",
            account_id=order.account_id,
            symbol=order.symbol,
            quantity=quantity,
            price_usd=price,
            commission_usd=Decimal(1),
            executed_at=datetime.now(UTC),
            order_id=order.order_id,
            client_order_id=order.client_order_id,
        )
        self.records.executions.append(fill)
        self._publish(fill)
        status = OrderStatus.FILLED if quantity == order.quantity else OrderStatus.WORKING
        self._change(order, filled_quantity=quantity, average_price=price, status=status)

    def _change(self, order, **changes):
        changed = order.model_copy(update=changes)
        self.records.orders[int(order.order_id)] = changed
        self._publish(changed)

    def _publish(self, update):
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
                limit_price=self.records.limits[order.order_id],
                order_id=order.order_id,
                client_order_id=order.client_order_id,
            )
            for order in self.records.orders
            if order.status is OrderStatus.WORKING
        ]

    async def get_order_status(self, account_id, order_id):
        self._check(account_id)
        unknown = OrderResult.not_found(account_id, order_id)
        return next((order for order in self.records.orders if order.order_id == order_id), unknown)

    async def find_order(self, account_id, client_order_id):
        self._check(account_id)
        return next((order for order in self.records.orders if order.client_order_id == client_order_id), None)

    async def get_executions(self, account_id, *, since, client_order_id=None):
        self._check(account_id)
        return [
            fill
            for fill in self.records.executions
            if fill.executed_at >= since and client_order_id in {None, fill.client_order_id}
        ]

    def order_updates(self):
        queue = asyncio.Queue()
        self._queues.append(queue)
        return self._updates(queue)

    async def _updates(self, queue):
        while (update := await queue.get()) is not None:
            yield update
        raise BrokerConnectionError("The connection is closed.")
