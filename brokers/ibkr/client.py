"""The connector of Interactive Brokers, over the socket API of IB Gateway or TWS."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from typing import ClassVar

from brokers.base import BrokerClient, TimedCache
from brokers.broker_types import (
    AccountPosition,
    AccountSnapshot,
    BrokerCapabilities,
    ConnectionSettings,
    ConnectorSettings,
    ContractFacts,
    ContractPrice,
    Execution,
    Feasibility,
    OpenOrder,
    OrderResult,
    OrderType,
    OrderUpdate,
    TimeInForce,
)
from brokers.exceptions import BrokerConnectionError, MarketDataUnavailable
from brokers.ibkr.accounts import Accounts
from brokers.ibkr.connection import GatewayConnection
from brokers.ibkr.contracts import Contracts
from brokers.ibkr.errors import Effect, effect_of
from brokers.ibkr.limits import Limits
from brokers.ibkr.order_tracker import OrderTracker
from brokers.ibkr.orders import Orders
from brokers.ibkr.quotes import Quotes
from brokers.ibkr.settings import GatewaySettings
from calculator import Commission


class InteractiveBrokers(BrokerClient):
    """One connection to IB Gateway or TWS, always with the slot's client id."""

    name: ClassVar[str] = "ibkr"
    # IBKR Pro, fixed, US stocks and ETFs: USD 0.005 per share, at least 1.00, at most 1 % of the value of the order.
    usual_commission: ClassVar[Commission] = Commission(
        kind="per_share", per_share=Decimal("0.005"), min_per_order=Decimal(1), max_rate=Decimal("0.01")
    )
    capabilities: ClassVar[BrokerCapabilities] = BrokerCapabilities(
        order_types=frozenset(OrderType), times_in_force=frozenset(TimeInForce), what_if=True, client_ids=8
    )
    Settings: ClassVar[type[ConnectorSettings]] = GatewaySettings
    limits: ClassVar[Limits] = Limits()

    def __init__(
        self,
        settings: ConnectionSettings,
        price_cache: TimedCache[ContractPrice] | None = None,
        contract_cache: TimedCache[ContractFacts] | None = None,
    ) -> None:
        super().__init__(settings, price_cache, contract_cache)
        self._gateway = GatewaySettings.model_validate(settings.connector, from_attributes=True)
        self._listeners: set[asyncio.Queue[OrderUpdate]] = set()
        self._prepare()

    def _prepare(self) -> None:
        """Create the state of a connection. A connection is never opened twice, so none of it is reused."""
        settings, gateway, limits = self.settings, self._gateway, self.limits
        self._data_restarts = 0
        self._order_tracker = OrderTracker(settings.client_id, self._publish)
        self._connection = GatewayConnection(settings, gateway, limits, self._order_tracker, self._on_error)
        self._quotes = Quotes(settings, gateway, limits, self._connection, self.price_cache)
        self._contracts = Contracts(limits, self._connection, self.contract_cache, settings.contract_choices)
        self._accounts = Accounts(limits, self._connection, self._order_tracker, self._quotes, self._contracts)
        self._orders = Orders(settings, limits, self._connection, self._order_tracker, self._contracts)

    # ---- connection

    def add_account(self, account_id: str) -> None:
        """Serve another account. The gateway sends the data of all accounts of its login. Moves money: no."""
        super().add_account(account_id)
        self._connection.served = self.settings.account_ids

    async def connect(self) -> None:
        await self.disconnect()
        self._prepare()
        await self._connection.open(self._quotes)

    async def disconnect(self) -> None:
        if self._connection.is_up:
            await self._orders.until_acknowledged()
        await self._connection.close()

    @property
    def is_connected(self) -> bool:
        return self._connection.is_up

    @property
    def data_restarts(self) -> int:
        """Number of times that the gateway reconnected to the broker (1101, 1102). Moves money: no."""
        return self._data_restarts

    # ---- accounts and quotes

    async def get_account_snapshot(self, account_id: str, *, use_cached_prices: bool = False) -> AccountSnapshot:
        snapshot = await self._accounts.snapshot(account_id)
        held = [position for position in snapshot.positions if position.is_us_stock and position.quantity]
        unmarked = [position.symbol for position in held if position.market_price is None]
        if not unmarked:
            return snapshot
        with suppress(MarketDataUnavailable):  # a missing mark is reported by what needs it
            await self._fetch_prices(unmarked)
        return snapshot.model_copy(update={"positions": tuple(map(self._marked, snapshot.positions))})

    def _marked(self, position: AccountPosition) -> AccountPosition:
        if position.market_price is not None or not position.is_us_stock:
            return position
        return position.model_copy(update={"market_price": self._quotes.mid(position.symbol)})

    async def get_positions(self, account_id: str) -> tuple[AccountPosition, ...]:
        """Return the positions, which the broker pushes at every change. Moves money: no."""
        self._connection.check_managed(account_id)
        return await self._accounts.positions(account_id)

    async def _fetch_prices(self, symbols: Sequence[str]) -> dict[str, ContractPrice]:
        known = await self._contracts.of(symbols)
        found = await self._quotes.fetch(known)
        for symbol in symbols:
            if symbol not in known:
                reason = f"{self._contracts.refusal(symbol)}."
                found[symbol] = ContractPrice(symbol=symbol, as_of=datetime.now(UTC), message=reason)
        return found

    async def unknown_symbols(self, symbols: Sequence[str]) -> tuple[str, ...]:
        """Return the symbols that have no contract of a US stock or ETF to trade. Moves money: no."""
        known = await self._contracts.of(symbols)
        return tuple(symbol for symbol in symbols if symbol not in known)

    def why_unknown(self, symbol: str) -> str:
        """Return why the symbol has no contract to trade: none, several, or another spelling. Moves money: no."""
        return self._contracts.refusal(symbol)

    async def closed_symbols(self, symbols: Sequence[str], at: datetime) -> tuple[str, ...]:
        """Return the symbols whose contract is not traded at an instant, by its regular hours. Moves money: no."""
        known = await self._contracts.of(symbols)
        return tuple(symbol for symbol in symbols if symbol in known and known[symbol].is_closed_at(at))

    # ---- orders

    async def wait_for_turn(self) -> None:
        await self._connection.until_turn()

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
        self._connection.check_managed(account_id)
        return await self._orders.place(account_id, symbol, quantity, order_type, price, client_order_id, time_in_force)

    async def cancel_order(self, account_id: str, order_id: str) -> None:
        self._connection.check_managed(account_id)
        await self._orders.cancel(account_id, order_id)

    async def get_open_orders(self, account_id: str) -> list[OpenOrder]:
        self._connection.check_managed(account_id)
        return await self._orders.open_orders(account_id)

    async def get_order_status(self, account_id: str, order_id: str) -> OrderResult:
        self._connection.check_managed(account_id)
        return await self._orders.status(account_id, order_id) or OrderResult.not_found(account_id, order_id)

    async def find_order(self, account_id: str, client_order_id: str) -> OrderResult | None:
        self._connection.check_managed(account_id)
        return await self._orders.find(account_id, client_order_id)

    async def get_executions(
        self, account_id: str, *, since: datetime, client_order_id: str | None = None
    ) -> list[Execution]:
        self._connection.check_managed(account_id)
        found = await self._orders.executions(account_id, since)
        return [fill for fill in found if client_order_id in {None, fill.client_order_id}]

    async def check_feasible(self, account_id: str, symbol: str, quantity: Decimal, price: Decimal) -> Feasibility:
        self._connection.check_managed(account_id)
        return await self._orders.check_feasible(account_id, symbol, quantity, price)

    # ---- order updates

    def order_updates(self) -> AsyncIterator[OrderUpdate]:
        queue: asyncio.Queue[OrderUpdate] = asyncio.Queue()
        self._listeners.add(queue)
        return self._updates(queue, self._connection)

    async def _updates(
        self, queue: asyncio.Queue[OrderUpdate], connection: GatewayConnection
    ) -> AsyncIterator[OrderUpdate]:
        ended = asyncio.ensure_future(connection.ended.wait())
        try:
            while True:
                update = asyncio.ensure_future(queue.get())
                try:
                    await asyncio.wait({update, ended}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    if not update.done():
                        update.cancel()
                if not update.done() or update.cancelled():
                    raise connection.failure or BrokerConnectionError("The connection to the gateway is closed.")
                yield update.result()
        finally:
            ended.cancel()
            self._listeners.discard(queue)

    def _publish(self, update: OrderUpdate) -> None:
        if update.account_id in self.settings.account_ids:
            for queue in self._listeners:
                queue.put_nowait(update)

    def _on_error(self, request_id: int, code: int, message: str) -> None:
        self._quotes.on_error(request_id, code, message)
        effect = effect_of(code)
        self._data_restarts += effect in {Effect.BROKER_RESTORED, Effect.QUOTES_LOST}
        if effect is Effect.QUOTES_LOST:
            self._quotes.forget()
