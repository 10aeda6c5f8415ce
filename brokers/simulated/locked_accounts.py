"""The records of several accounts within one transaction: read once and written once, however many orders they have."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from functools import cached_property

from django.utils import timezone

from brokers.broker_types import ContractPrice, OrderStatus
from brokers.exceptions import AccountNotManaged
from brokers.simulated.faults import ScriptedFaults
from brokers.simulated.market import get_market, market_prices
from brokers.simulated.models import (
    SimulatedAccount,
    SimulatedExecution,
    SimulatedInstrument,
    SimulatedMarket,
    SimulatedOrder,
    SimulatedPosition,
)

OPEN = (OrderStatus.WORKING.value,)
ORDER_STATE = ("status", "filled_quantity", "filled_value_usd", "next_fill_at", "message")
MICRO = Decimal("0.000001")
"""Rounding unit of amounts, in USD."""


class LockedAccounts:
    """The locked accounts, with their positions and open orders. `write` stores what has changed.

    Within a transaction only. Each table is read with one statement, when it is first needed, and written with one
    statement for each kind of change.
    """

    def __init__(self, account_ids: Sequence[str]) -> None:
        self.now = timezone.now()
        # Locked in a fixed order, so that two processes cannot wait for each other.
        locked = SimulatedAccount.objects.select_for_update().filter(account_id__in=account_ids).order_by("account_id")
        self._accounts = {account.account_id: account for account in locked}
        self._prices: dict[str, ContractPrice] = {}
        self._executions: list[SimulatedExecution] = []
        self._executions_since = datetime.max.replace(tzinfo=UTC)
        self._new_orders: list[SimulatedOrder] = []
        self._new_executions: list[SimulatedExecution] = []
        self._changed_accounts: dict[str, SimulatedAccount] = {}
        self._changed_orders: dict[str, SimulatedOrder] = {}
        self._changed_positions: dict[tuple[int, str], SimulatedPosition] = {}
        self._closed_positions: list[int] = []

    def account(self, account_id: str) -> SimulatedAccount:
        """Return a locked account.

        Raises:
            AccountNotManaged: There is no such account.
        """
        if account_id not in self._accounts:
            raise AccountNotManaged(
                f"The simulated broker has no account {account_id}. Import the account or save it again."
            )
        return self._accounts[account_id]

    @cached_property
    def market(self) -> SimulatedMarket:
        """The behavior of the market."""
        return get_market()

    @cached_property
    def faults(self) -> ScriptedFaults:
        """The scripted faults that are left."""
        return ScriptedFaults()

    @cached_property
    def instruments(self) -> dict[str, SimulatedInstrument]:
        """All instruments by symbol."""
        return {one.symbol: one for one in SimulatedInstrument.objects.all()}

    @cached_property
    def _positions(self) -> dict[int, dict[str, SimulatedPosition]]:
        found: dict[int, dict[str, SimulatedPosition]] = defaultdict(dict)
        for position in SimulatedPosition.objects.filter(account__in=self._accounts.values()):
            found[position.account_id][position.contract_id] = position
        return found

    @cached_property
    def _open_orders(self) -> list[SimulatedOrder]:
        orders = list(SimulatedOrder.objects.filter(account__in=self._accounts.values(), status__in=OPEN))
        by_pk = {account.pk: account for account in self._accounts.values()}
        for order in orders:
            order.account = by_pk[order.account_id]
        return orders

    def positions(self, account: SimulatedAccount) -> list[SimulatedPosition]:
        """Return the positions of an account, by symbol."""
        return sorted(self._positions[account.pk].values(), key=lambda position: position.symbol)

    def open_orders(self, account: SimulatedAccount | None = None) -> list[SimulatedOrder]:
        """Return the open orders of an account, or of all accounts, oldest first."""
        return [
            order
            for order in (*self._open_orders, *self._new_orders)
            if order.status in OPEN and (account is None or order.account is account)
        ]

    def find_order(self, account: SimulatedAccount, /, **ids: str) -> SimulatedOrder | None:
        """Return the account's order with an id (`order_id` or `client_order_id`), the newest of several."""
        for order in reversed(self.open_orders(account)):
            if all(getattr(order, name) == value for name, value in ids.items()):
                return order
        found = SimulatedOrder.objects.filter(account=account, **ids).select_related("account")
        return found.order_by("-id").first()

    def executions(self, account: SimulatedAccount, since: datetime) -> list[SimulatedExecution]:
        """Return the fills of an account since an instant, oldest first."""
        if since < self._executions_since:
            fills = SimulatedExecution.objects.filter(
                order__account__in=self._accounts.values(), executed_at__gte=since
            )
            self._executions, self._executions_since = list(fills.select_related("order__account")), since
        return [one for one in self._executions if one.order.account_id == account.pk and one.executed_at >= since]

    def prices(self, symbols: Iterable[str]) -> dict[str, ContractPrice]:
        """Return the prices at which the exchange trades, without scripted faults."""
        wanted = set(symbols)
        if missing := (wanted - self._prices.keys()) & self.instruments.keys():
            self._prices |= market_prices([self.instruments[symbol] for symbol in missing], self.market, self.now)
        return {symbol: self._prices[symbol] for symbol in wanted if symbol in self._prices}

    def add_order(self, order: SimulatedOrder) -> None:
        """Store a new order."""
        self._new_orders.append(order)

    def add_execution(self, order: SimulatedOrder, shares: Decimal, price: Decimal, commission: Decimal) -> None:
        """Store a fill of signed shares, after the order's state has changed; price and commission in USD."""
        execution = SimulatedExecution(
            order=order,
            execution_id=f"{order.order_id}.{abs(order.filled_quantity):.0f}",  # what is filled only grows
            quantity=shares,
            price_usd=price,
            commission_usd=commission,
            executed_at=self.now,
        )
        self._new_executions.append(execution)

    def change_order(self, order: SimulatedOrder) -> None:
        """Store the new state of an open order."""
        self._changed_orders[order.order_id] = order

    def add_shares(self, account: SimulatedAccount, symbol: str, shares: Decimal, price: Decimal) -> None:
        """Change the position of an account in a US stock by signed shares, bought or sold at a price in USD."""
        positions, contract_id = self._positions[account.pk], f"US:{symbol}"
        position = positions.get(contract_id)
        if position is None:
            position = SimulatedPosition(account=account, contract_id=contract_id, symbol=symbol, quantity=Decimal(0))
            positions[contract_id] = position
        if shares > 0:
            cost = position.quantity * position.average_cost_usd + shares * price
            position.average_cost_usd = (cost / (position.quantity + shares)).quantize(MICRO)
        position.quantity += shares
        self._changed_positions[account.pk, contract_id] = position
        if position.quantity == 0:
            del positions[contract_id], self._changed_positions[account.pk, contract_id]
            self._closed_positions += [position.pk] if position.pk else []

    def add_cash(self, account: SimulatedAccount, amount_usd: Decimal) -> None:
        """Change the cash of an account by a signed amount."""
        account.cash_usd += amount_usd
        self._changed_accounts[account.account_id] = account

    def write(self) -> None:
        """Store the changes since the last call."""
        accounts, orders = list(self._changed_accounts.values()), list(self._changed_orders.values())
        positions = list(self._changed_positions.values())
        SimulatedAccount.objects.bulk_update(accounts, ("cash_usd",))
        SimulatedOrder.objects.bulk_update(orders, ORDER_STATE)
        SimulatedOrder.objects.bulk_create(self._new_orders)
        SimulatedExecution.objects.bulk_create(self._new_executions)
        if self._closed_positions:
            SimulatedPosition.objects.filter(pk__in=self._closed_positions).delete()
        SimulatedPosition.objects.bulk_update([one for one in positions if one.pk], ("quantity", "average_cost_usd"))
        SimulatedPosition.objects.bulk_create([one for one in positions if not one.pk])
        self._new_orders, self._new_executions, self._closed_positions = [], [], []
        self._changed_accounts, self._changed_orders, self._changed_positions = {}, {}, {}
