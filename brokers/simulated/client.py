"""The connector of the simulated broker, whose account records are in the database."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import ClassVar, Concatenate, ParamSpec, TypeVar

from asgiref.sync import sync_to_async
from django.db import OperationalError

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
    BrokerConnectionError,
    BrokerSilent,
    BrokerUnreachable,
    OrderExecutionError,
)
from brokers.simulated import answers
from brokers.simulated.faults import Kind, take_fault
from brokers.simulated.locked_accounts import LockedAccounts
from brokers.simulated.market import get_market, quoted_prices
from brokers.simulated.matching_engine import OrderRequest, cancel_order
from brokers.simulated.models import SimulatedLink
from brokers.simulated.order_stream import OrderStream
from brokers.simulated.requests import RequestQueue, wait_for_database
from calculator import Commission

P = ParamSpec("P")
T = TypeVar("T")

POLL_SECONDS = 0.1
"""Interval at which order updates are read: the database sends no event when another process changes a row."""


class SimulatedBroker(BrokerClient):
    """One connection to the simulated broker. A newer connection with the same client id replaces it."""

    name: ClassVar[str] = "simulated"
    usual_commission: ClassVar[Commission] = Commission(kind="per_share")  # as new simulated markets charge
    capabilities: ClassVar[BrokerCapabilities] = BrokerCapabilities(
        order_types=frozenset(OrderType),
        times_in_force=frozenset(TimeInForce),
        what_if=True,
        empty_answer_seconds=0,
    )

    _token = ""
    _requests: RequestQueue

    async def connect(self) -> None:
        if await sync_to_async(take_fault)(Kind.CONNECT_REFUSED):
            raise BrokerUnreachable("The simulated broker cannot be reached.")
        token = str(uuid.uuid4())
        await SimulatedLink.objects.aupdate_or_create(client_id=self.settings.client_id, defaults={"token": token})
        self._token = token
        self._requests = RequestQueue(self._served, self._check_connection)

    async def disconnect(self) -> None:
        self._token = ""

    @property
    def is_connected(self) -> bool:
        return bool(self._token)

    async def get_account_snapshot(self, account_id: str, *, use_cached_prices: bool = False) -> AccountSnapshot:
        """Return the current account with positions marked at mid price. Moves money: no."""
        snapshot = await self._ask(answers.snapshot, account_id)
        if snapshot is None:
            await asyncio.sleep(self.settings.request_timeout_seconds)
            raise BrokerSilent(f"No response within {self.settings.request_timeout_seconds:g} seconds.")
        return snapshot

    async def _fetch_prices(self, symbols: Sequence[str]) -> dict[str, ContractPrice]:
        market = await self._read(get_market)
        await asyncio.sleep(market.quote_latency_seconds)  # quotes of a real broker are streamed
        return await self._read(partial(quoted_prices, symbols))

    async def unknown_symbols(self, symbols: Sequence[str]) -> tuple[str, ...]:
        """Return the symbols without an instrument. Moves money: no."""
        return await self._read(partial(answers.unknown, symbols))

    async def describe(self, symbols: Sequence[str]) -> dict[str, InstrumentName]:
        """Return the names and asset classes of the instruments. Moves money: no."""
        return await self._read(partial(answers.names, symbols))

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
        order = OrderRequest(account_id, symbol, quantity, order_type, price, client_order_id, time_in_force)
        try:
            return await self._ask(answers.place_order, account_id, order)
        except answers.ConnectionDropped:
            self._token = ""
            raise

    async def cancel_order(self, account_id: str, order_id: str) -> None:
        if not await self._ask(cancel_order, account_id, order_id):
            raise OrderExecutionError(f"The broker has no order {order_id!r} to cancel.")

    async def get_open_orders(self, account_id: str) -> list[OpenOrder]:
        return await self._ask(answers.open_orders, account_id)

    async def get_order_status(self, account_id: str, order_id: str) -> OrderResult:
        found = await self._ask(answers.find_order, account_id, order_id=order_id)
        return found or OrderResult.not_found(account_id, order_id)

    async def find_order(self, account_id: str, client_order_id: str) -> OrderResult | None:
        return await self._ask(answers.look_up_order, account_id, client_order_id)

    async def get_executions(
        self, account_id: str, *, since: datetime, client_order_id: str | None = None
    ) -> list[Execution]:
        found = await self._ask(answers.executions, account_id, since)
        return [fill for fill in found if client_order_id in (None, fill.client_order_id)]

    async def order_updates(self) -> AsyncIterator[OrderUpdate]:
        stream = OrderStream(self._served)
        while True:
            updates, has_due_orders = await self._read(stream.poll)
            for update in updates:
                yield update
            if has_due_orders:
                with suppress(OperationalError):  # the lock was not free: the next poll tries again
                    await self._requests.ask(_execute_due)
            else:
                await asyncio.sleep(POLL_SECONDS)

    async def check_feasible(self, account_id: str, symbol: str, quantity: Decimal, price: Decimal) -> Feasibility:
        order = OrderRequest(account_id, symbol, quantity, OrderType.LIMIT, price)
        return await self._ask(answers.check_feasible, account_id, order)

    async def _ask(
        self,
        request: Callable[Concatenate[LockedAccounts, str, P], T],
        account_id: str,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Call a function with the locked accounts, together with the requests that wait at the same time."""
        if account_id not in self.settings.account_ids:
            raise AccountNotManaged(f"This connection does not serve account {account_id}.")
        self._check_open()
        return await self._requests.ask(lambda accounts: request(accounts, account_id, *args, **kwargs))

    async def _read(self, function: Callable[[], T]) -> T:
        """Call a function that locks no account."""
        self._check_open()
        return await wait_for_database(sync_to_async(self._checked)(function))

    def _checked(self, function: Callable[[], T]) -> T:
        self._check_connection()
        return function()

    def _served(self) -> tuple[str, ...]:
        return self.settings.account_ids

    def _check_open(self) -> None:
        if not self._token:
            raise BrokerConnectionError("The connection to the simulated broker is closed.")

    def _check_connection(self) -> None:
        """Check that no newer connection has the same client id. Runs in the thread of the statements."""
        if not SimulatedLink.objects.filter(client_id=self.settings.client_id, token=self._token).exists():
            self._token = ""
            raise BrokerConnectionError("A newer connection with the same client id has replaced this one.")


def _execute_due(_accounts: LockedAccounts) -> None:
    """Change nothing else: the accounts execute what is due when they are locked."""
