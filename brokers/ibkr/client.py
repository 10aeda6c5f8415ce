"""The connector of Interactive Brokers: the contract of every broker, over a gateway's socket."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from decimal import Decimal
from typing import ClassVar

from brokers.base import BrokerClient, ContractCache, PriceCache
from brokers.broker_types import (
    AccountPosition,
    AccountSnapshot,
    BrokerCapabilities,
    ConnectionSettings,
    ContractPrice,
    Execution,
    Feasibility,
    OpenOrder,
    OrderResult,
    OrderStatus,
    OrderType,
    OrderUpdate,
    TimeInForce,
)
from brokers.exceptions import BrokerConnectionError
from brokers.ibkr.accounts import Accounts
from brokers.ibkr.connection import BROKER_BACK_WITHOUT_QUOTES, GatewayConnection
from brokers.ibkr.contracts import Contracts
from brokers.ibkr.ib_client import MESSAGES_PER_SECOND
from brokers.ibkr.order_tracker import OrderTracker
from brokers.ibkr.orders import Orders
from brokers.ibkr.quotes import Quotes


class InteractiveBrokers(BrokerClient):
    """One connection to IB Gateway or TWS, always with the slot's client id."""

    name: ClassVar[str] = "ibkr"
    capabilities: ClassVar[BrokerCapabilities] = BrokerCapabilities(
        order_types=frozenset(OrderType),
        times_in_force=frozenset(TimeInForce),
        what_if=True,
        settled_cash=True,
        messages_per_second=MESSAGES_PER_SECOND,
        accounts_per_connection=3,
    )

    def __init__(
        self,
        settings: ConnectionSettings,
        price_cache: PriceCache | None = None,
        contract_cache: ContractCache | None = None,
    ) -> None:
        super().__init__(settings, price_cache, contract_cache)
        self._listeners: set[asyncio.Queue[OrderUpdate]] = set()
        self._prepare()

    def _prepare(self) -> None:
        """A connection is never opened twice: what it knew is forgotten with it."""
        settings = self.settings
        self._quotes = Quotes(settings, self.price_cache)
        self._ledger = OrderTracker(settings.client_id, self._publish)
        self._link = GatewayConnection(settings, self._ledger, self._quotes, self._on_error)
        self._contracts = Contracts(self._link, self.contract_cache)
        self._accounts = Accounts(self._link, self._ledger, self._quotes)
        self._orders = Orders(settings, self._link, self._ledger, self._contracts)

    # ---- the connection

    async def connect(self) -> None:
        """Opens the link with the slot's client id. Moves money: no."""
        await self.disconnect()
        self._prepare()
        await self._link.open()

    async def disconnect(self) -> None:
        """Closes the link when every order that was sent is acknowledged. Moves money: no."""
        if self._link.is_up:
            await self._orders.until_acknowledged()
        await self._link.close()

    @property
    def is_connected(self) -> bool:
        """Whether the link is up as far as this side can know."""
        return self._link.is_up

    # ---- accounts and quotes

    async def get_account_snapshot(self, account_id: str, *, use_cached_prices: bool = False) -> AccountSnapshot:
        """The account now. Moves money: no."""
        return await self._accounts.snapshot(account_id)

    async def get_positions(self, account_id: str) -> tuple[AccountPosition, ...]:
        """Every position, as it was pushed: the broker tells each change at once. Moves money: no."""
        self._link.check_managed(account_id)
        return await self._accounts.positions(account_id)

    async def _fetch_prices(self, symbols: Sequence[str]) -> dict[str, ContractPrice]:
        return await self._quotes.fetch(self._link, await self._contracts.of(symbols))

    async def unknown_symbols(self, symbols: Sequence[str]) -> tuple[str, ...]:
        """Those of the symbols that are not exactly one US stock or ETF. Moves money: no."""
        known = await self._contracts.of(symbols)
        return tuple(symbol for symbol in symbols if symbol not in known)

    async def closed_symbols(self, symbols: Sequence[str], at: datetime) -> tuple[str, ...]:
        """Those whose exchange does not trade at the instant, by the hours of each contract. Moves money: no."""
        known = await self._contracts.of(symbols)
        return tuple(symbol for symbol in symbols if symbol in known and known[symbol].is_closed_at(at))

    # ---- orders

    async def place_order(
        self,
        account_id: str,
        symbol: str,
        quantity: Decimal,
        order_type: OrderType,
        price: Decimal | None,
        *,
        client_order_id: str,
        time_in_force: TimeInForce = TimeInForce.DAY,
    ) -> OrderResult:
        """Sends one order and waits for the first word of the broker. Moves money: yes."""
        self._link.check_managed(account_id)
        return await self._orders.place(account_id, symbol, quantity, order_type, price, client_order_id, time_in_force)

    async def cancel_order(self, account_id: str, order_id: str) -> None:
        """Asks for a cancel. It is a request: the order can still fill. Moves money: no."""
        self._link.check_managed(account_id)
        await self._orders.cancel(account_id, order_id)

    async def get_open_orders(self, account_id: str) -> list[OpenOrder]:
        """Every live order of the account, ours or anybody's. Moves money: no."""
        self._link.check_managed(account_id)
        return await self._orders.open_orders(account_id)

    async def get_order_status(self, account_id: str, order_id: str) -> OrderResult:
        """What the broker says of the order; NOT_FOUND when it knows none. Moves money: no."""
        self._link.check_managed(account_id)
        found = await self._orders.status(account_id, order_id)
        return found or OrderResult(
            account_id=account_id, symbol="", quantity=Decimal(0), status=OrderStatus.NOT_FOUND, order_id=order_id
        )

    async def find_order(self, account_id: str, client_order_id: str) -> OrderResult | None:
        """Looks in open and completed orders. Moves money: no."""
        self._link.check_managed(account_id)
        return await self._orders.find(account_id, client_order_id)

    async def get_executions(
        self, account_id: str, *, since: datetime, client_order_id: str | None = None
    ) -> list[Execution]:
        """The fills since an instant, manual ones included, oldest first. Moves money: no."""
        self._link.check_managed(account_id)
        found = await self._orders.executions(account_id, since)
        return [fill for fill in found if client_order_id in {None, fill.client_order_id}]

    async def check_feasible(self, account_id: str, symbol: str, quantity: Decimal, price: Decimal) -> Feasibility:
        """Asks whether the broker would take the order. Moves money: no."""
        self._link.check_managed(account_id)
        return await self._orders.check_feasible(account_id, symbol, quantity, price)

    # ---- what happens

    def order_updates(self) -> AsyncIterator[OrderUpdate]:
        """Every change of an order and every fill of the slot's accounts, from this call on."""
        queue: asyncio.Queue[OrderUpdate] = asyncio.Queue()
        self._listeners.add(queue)
        return self._updates(queue, self._link)

    async def _updates(self, queue: asyncio.Queue[OrderUpdate], link: GatewayConnection) -> AsyncIterator[OrderUpdate]:
        ended = asyncio.ensure_future(link.ended.wait())
        try:
            while True:
                coming = asyncio.ensure_future(queue.get())
                try:
                    await asyncio.wait({coming, ended}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    if not coming.done():
                        coming.cancel()
                if not coming.done() or coming.cancelled():
                    raise link.broken or BrokerConnectionError("The connection to the gateway is closed.")
                yield coming.result()
        finally:
            ended.cancel()
            self._listeners.discard(queue)

    def _publish(self, update: OrderUpdate) -> None:
        if update.account_id in self.settings.account_ids:
            for queue in self._listeners:
                queue.put_nowait(update)

    def _on_error(self, request_id: int, code: int, words: str) -> None:
        self._quotes.on_error(request_id, code, words)
        if code == BROKER_BACK_WITHOUT_QUOTES:
            self._quotes.forget()
