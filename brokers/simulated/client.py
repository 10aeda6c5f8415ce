"""The connector of the simulated broker, whose account records are in the database."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import ClassVar, Concatenate, ParamSpec, TypeVar

from asgiref.sync import sync_to_async
from django.utils import timezone

from brokers.base import BrokerClient
from brokers.broker_types import (
    AccountSnapshot,
    BrokerCapabilities,
    ContractPrice,
    Execution,
    Feasibility,
    InstrumentName,
    OpenOrder,
    OrderResult,
    OrderType,
    OrderUpdate,
    TimeInForce,
)
from brokers.exceptions import (
    AccountNotManaged,
    BrokerAPIError,
    BrokerConnectionError,
    BrokerSilent,
    BrokerUnreachable,
    IncompleteAccountData,
    OrderExecutionError,
    OrderOutcomeUnknown,
)
from brokers.simulated import mapping, matching_engine
from brokers.simulated.faults import Kind, take_fault
from brokers.simulated.market import get_market, market_prices, quoted_prices
from brokers.simulated.models import (
    SimulatedAccount,
    SimulatedExecution,
    SimulatedInstrument,
    SimulatedLink,
    SimulatedOrder,
)

P = ParamSpec("P")
T = TypeVar("T")

POLL_SECONDS = 0.1
"""Interval at which order updates are read: the database sends no event when another process changes a row."""


class SimulatedBroker(BrokerClient):
    """One connection to the simulated broker. A newer connection with the same client id replaces it."""

    name: ClassVar[str] = "simulated"
    capabilities: ClassVar[BrokerCapabilities] = BrokerCapabilities(
        order_types=frozenset(OrderType),
        times_in_force=frozenset(TimeInForce),
        what_if=True,
        empty_answer_seconds=0,
    )

    _token = ""

    async def connect(self) -> None:
        if await sync_to_async(take_fault)(Kind.CONNECT_REFUSED):
            raise BrokerUnreachable("The simulated broker cannot be reached.")
        token = str(uuid.uuid4())
        await SimulatedLink.objects.aupdate_or_create(client_id=self.settings.client_id, defaults={"token": token})
        self._token = token

    async def disconnect(self) -> None:
        self._token = ""

    @property
    def is_connected(self) -> bool:
        return bool(self._token)

    async def get_account_snapshot(self, account_id: str, *, use_cached_prices: bool = False) -> AccountSnapshot:
        """Return the current account with positions marked at mid price. Moves money: no."""
        if await self._request(take_fault, Kind.MUTE, account_id):
            await asyncio.sleep(self.settings.request_timeout_seconds)
            raise BrokerSilent(f"No response within {self.settings.request_timeout_seconds:g} seconds.")
        if await self._request(take_fault, Kind.INCOMPLETE, account_id):
            raise IncompleteAccountData(f"The value of account {account_id} is missing.")
        return await self._request_account(_snapshot, account_id)

    async def _fetch_prices(self, symbols: Sequence[str]) -> dict[str, ContractPrice]:
        market = await self._request(get_market)
        await asyncio.sleep(market.quote_latency_seconds)  # quotes of a real broker are streamed
        return await self._request(quoted_prices, symbols)

    async def unknown_symbols(self, symbols: Sequence[str]) -> tuple[str, ...]:
        """Return the symbols without an instrument. Moves money: no."""
        return await self._request(_unknown, tuple(symbols))

    async def describe(self, symbols: Sequence[str]) -> dict[str, InstrumentName]:
        """Return the names and asset classes of the instruments. Moves money: no."""
        return await self._request(_names, tuple(symbols))

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
        if await self._request(take_fault, Kind.DISCONNECT_BEFORE, account_id, symbol):
            self._token = ""
            raise OrderOutcomeUnknown("The connection was lost while the order was submitted.")
        if await self._request(take_fault, Kind.LOST, account_id, symbol):
            raise OrderOutcomeUnknown("The broker did not acknowledge the order.")
        order = await self._request_account(
            matching_engine.take_order, account_id, symbol, quantity, order_type, price, client_order_id, time_in_force
        )
        if await self._request(take_fault, Kind.DISCONNECT_AFTER, account_id, symbol):
            self._token = ""
            raise OrderOutcomeUnknown("The connection was lost before the order was acknowledged.")
        if await self._request(take_fault, Kind.SILENT, account_id, symbol):
            raise OrderOutcomeUnknown("The broker did not acknowledge the order.")
        return mapping.order_result(order)

    async def cancel_order(self, account_id: str, order_id: str) -> None:
        if not await self._request_account(matching_engine.cancel, account_id, order_id):
            raise OrderExecutionError(f"The broker has no order {order_id!r} to cancel.")

    async def get_open_orders(self, account_id: str) -> list[OpenOrder]:
        orders = await self._request_account(_orders, account_id)
        return [mapping.open_order(order) for order in orders if order.status in matching_engine.OPEN]

    async def get_order_status(self, account_id: str, order_id: str) -> OrderResult:
        orders = await self._request_account(_orders, account_id)
        found = (mapping.order_result(order) for order in orders if order.order_id == order_id)
        return next(found, OrderResult.not_found(account_id, order_id))

    async def find_order(self, account_id: str, client_order_id: str) -> OrderResult | None:
        await self._check_readable(account_id)
        orders = await self._request_account(_orders, account_id)
        return next((mapping.order_result(order) for order in orders if order.client_order_id == client_order_id), None)

    async def get_executions(
        self, account_id: str, *, since: datetime, client_order_id: str | None = None
    ) -> list[Execution]:
        await self._check_readable(account_id)
        found = [mapping.execution(fill) for fill in await self._request_account(_executions, account_id, since)]
        return [fill for fill in found if client_order_id in (None, fill.client_order_id)]

    async def order_updates(self) -> AsyncIterator[OrderUpdate]:
        seen: dict[str, object] = {}
        since = timezone.now() - timedelta(minutes=1)
        while True:
            for update in await self._request(_changes, self.settings.account_ids, since, seen):
                yield update
            await asyncio.sleep(POLL_SECONDS)

    async def check_feasible(self, account_id: str, symbol: str, quantity: Decimal, price: Decimal) -> Feasibility:
        refusal = await self._request_account(matching_engine.would_take, account_id, symbol, quantity, price)
        return Feasibility(accepted=not refusal, message=refusal)

    async def _check_readable(self, account_id: str) -> None:
        if await self._request(take_fault, Kind.UNREADABLE, account_id):
            raise BrokerAPIError("The broker's records cannot be read.")

    async def _request_account(
        self, function: Callable[Concatenate[str, P], T], account_id: str, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        if account_id not in self.settings.account_ids:
            raise AccountNotManaged(f"This connection does not serve account {account_id}.")
        return await self._request(function, account_id, *args, **kwargs)

    async def _request(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a function in a thread, if this is still the connection of its client id."""
        if not self._token:
            raise BrokerConnectionError("The connection to the simulated broker is closed.")
        try:
            async with asyncio.timeout(self.settings.request_timeout_seconds):
                return await sync_to_async(self._fenced)(function, *args, **kwargs)
        except TimeoutError as error:
            raise BrokerSilent(f"No response within {self.settings.request_timeout_seconds:g} seconds.") from error

    def _fenced(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        if not SimulatedLink.objects.filter(client_id=self.settings.client_id, token=self._token).exists():
            self._token = ""
            raise BrokerConnectionError("A newer connection with the same client id has replaced this one.")
        return function(*args, **kwargs)


def _snapshot(account_id: str) -> AccountSnapshot:
    with matching_engine.locked_account(account_id) as account:
        positions = list(account.positions.all())
        prices = market_prices({position.symbol for position in positions})
        return mapping.snapshot(account, positions, prices)


def _unknown(symbols: Sequence[str]) -> tuple[str, ...]:
    known = set(SimulatedInstrument.objects.filter(symbol__in=symbols).values_list("symbol", flat=True))
    return tuple(symbol for symbol in symbols if symbol not in known)


def _names(symbols: tuple[str, ...]) -> dict[str, InstrumentName]:
    known = SimulatedInstrument.objects.filter(symbol__in=symbols)
    return {one.symbol: InstrumentName(name=one.name, kind=one.asset_class) for one in known}


def _orders(account_id: str) -> list[SimulatedOrder]:
    with matching_engine.locked_account(account_id) as account:
        return list(account.orders.select_related("account").order_by("-id"))


def _executions(account_id: str, since: datetime) -> list[SimulatedExecution]:
    with matching_engine.locked_account(account_id) as account:
        fills = SimulatedExecution.objects.filter(order__account=account, executed_at__gte=since)
        return list(fills.select_related("order__account"))


def _changes(account_ids: Sequence[str], since: datetime, seen: dict[str, object]) -> list[OrderUpdate]:
    """Return what has changed since the last call; `seen` stores what was returned."""
    updates: list[OrderUpdate] = []
    for account in SimulatedAccount.objects.filter(account_id__in=account_ids):
        for fill in _executions(account.account_id, since):
            if fill.execution_id not in seen:
                seen[fill.execution_id] = True
                updates += _with_faults(mapping.execution(fill), fill.order)
        for order in account.orders.filter(submitted_at__gte=since).select_related("account"):
            state = (order.status, order.filled_quantity)
            if seen.get(order.order_id) != state:
                seen[order.order_id] = state
                updates += _with_faults(mapping.order_result(order), order)
    return updates


def _with_faults(update: OrderUpdate, order: SimulatedOrder) -> list[OrderUpdate]:
    """Return the update once, or as a scripted fault requires."""
    account_id = order.account.account_id
    if take_fault(Kind.SUPPRESSED_UPDATE, account_id, order.symbol):
        return []
    return [update, update] if take_fault(Kind.DUPLICATE_UPDATE, account_id, order.symbol) else [update]
