"""The contract of a connector: what the engine can request from any broker."""

import logging
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, ClassVar, Protocol, TypeVar

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
    InstrumentName,
    OpenOrder,
    OrderResult,
    OrderType,
    OrderUpdate,
    TimeInForce,
)
from brokers.exceptions import CapabilityMissing
from calculator import Commission

logger = logging.getLogger("rebalancer.brokers")

T = TypeVar("T")


class TimedCache(Protocol[T]):
    """Values by symbol that several processes share. The cache decides when an entry expires."""

    async def get(self, symbols: Sequence[str]) -> Mapping[str, T]:
        """Return the entries that have not expired, by symbol."""

    async def put(self, entries: Mapping[str, T]) -> None:
        """Store entries for all processes."""


class NoCache:
    """A `TimedCache` that stores nothing."""

    async def get(self, symbols: Sequence[str]) -> Mapping[str, Any]:
        """Return no entries."""
        return {}

    async def put(self, entries: Mapping[str, Any]) -> None:
        """Discard the entries."""


class BrokerClient(ABC):
    """One open connection to a broker, for the accounts of one connection slot.

    All methods are coroutines of one event loop. They return within the deadlines of their `ConnectionSettings` and
    raise only the errors of `brokers.exceptions`. They can be called concurrently for different accounts.
    """

    name: ClassVar[str]
    capabilities: ClassVar[BrokerCapabilities]
    Settings: ClassVar[type[ConnectorSettings]] = ConnectorSettings
    usual_commission: ClassVar[Commission] = Commission()
    """What the broker usually charges. New policies start with it. Without it, they set aside 1 % of each order."""

    def __init__(
        self,
        settings: ConnectionSettings,
        price_cache: TimedCache[ContractPrice] | None = None,
        contract_cache: TimedCache[ContractFacts] | None = None,
    ) -> None:
        self.settings = settings
        self.price_cache: TimedCache[ContractPrice] = price_cache or NoCache()
        self.contract_cache: TimedCache[ContractFacts] = contract_cache or NoCache()

    def add_account(self, account_id: str) -> None:
        """Serve another account, which was assigned to the slot after this connection was opened. Moves money: no."""
        account_ids = (*self.settings.account_ids, account_id)
        self.settings = self.settings.model_copy(update={"account_ids": account_ids})

    @abstractmethod
    async def connect(self) -> None:
        """Open the connection with the slot's client id. Moves money: no.

        Raises:
            BrokerConnectionError: The connection cannot be opened. Retry later with the same client id.
        """

    @abstractmethod
    async def disconnect(self) -> None:
        """Close the connection once every submitted order is acknowledged. Never raises. Moves money: no."""

    @property
    @abstractmethod
    def is_connected(self) -> bool:
        """Whether the connection is open, as far as this process can know. Moves money: no."""

    @property
    def data_restarts(self) -> int:
        """Number of times that the broker's data restarted over this connection. Moves money: no.

        After a restart, empty lists of orders prove nothing for a while, as after a new connection.
        """
        return 0

    @abstractmethod
    async def get_account_snapshot(self, account_id: str, *, use_cached_prices: bool = False) -> AccountSnapshot:
        """Return the current value, cash and positions of an account. Moves money: no.

        Raises:
            IncompleteAccountData: A value is missing. Do not trade.
            BrokerConnectionError: The connection is lost, or the broker does not respond.
        """

    async def get_positions(self, account_id: str) -> tuple[AccountPosition, ...]:
        """Return the current positions of an account; their values can be missing. Moves money: no.

        Raises:
            BrokerConnectionError: The connection is lost, or the broker does not respond.
        """
        return (await self.get_account_snapshot(account_id)).positions

    async def get_multiple_market_prices(
        self, symbols: Sequence[str], *, use_cache: bool = True
    ) -> dict[str, ContractPrice]:
        """Return the quotes of the symbols, without those that the broker does not quote. Moves money: no.

        Returns:
            Quotes by symbol, in the order of `symbols`.

        Raises:
            MarketDataUnavailable: The broker reports that it cannot quote any of them.
            BrokerConnectionError: The connection is lost, or the broker does not respond.
        """
        cached = dict(await self.price_cache.get(symbols)) if use_cache else {}
        now = datetime.now(UTC)
        for symbol, price in cached.items():
            logger.info("Using cached price for %s (age %.1fs)", symbol, (now - price.as_of).total_seconds())
        missing = [symbol for symbol in dict.fromkeys(symbols) if symbol not in cached]
        fresh = await self._fetch_prices(missing) if missing else {}
        if quoted := {symbol: price for symbol, price in fresh.items() if not price.is_refused}:
            await self.price_cache.put(quoted)
        found = {**cached, **fresh}
        return {symbol: found[symbol] for symbol in dict.fromkeys(symbols) if symbol in found}

    @abstractmethod
    async def _fetch_prices(self, symbols: Sequence[str]) -> dict[str, ContractPrice]:
        """Request the quotes of the symbols from the broker. Moves money: no."""

    @abstractmethod
    async def unknown_symbols(self, symbols: Sequence[str]) -> tuple[str, ...]:
        """Return the symbols that the broker cannot trade as a US stock or ETF. Moves money: no.

        Raises:
            BrokerConnectionError: The broker cannot look symbols up now, which proves nothing about any of them.
        """

    def why_unknown(self, symbol: str) -> str:
        """Return the reason of a symbol in `unknown_symbols`, as part of a sentence; empty if none is known."""
        return ""

    async def closed_symbols(self, symbols: Sequence[str], at: datetime) -> tuple[str, ...]:
        """Return the symbols whose own exchange is closed at an instant. Moves money: no.

        The calendar decides about sessions. This method covers exchanges with other hours and unscheduled closures,
        as far as the broker reports them.
        """
        return ()

    async def describe(self, symbols: Sequence[str]) -> dict[str, InstrumentName]:
        """Return the names of the symbols that are known without a request to the broker. Moves money: no.

        Returns:
            Names by symbol; symbols without a known name are left out.
        """
        return {}

    async def wait_for_turn(self) -> None:  # noqa: B027 - optional
        """Wait until the broker's message rate allows an order to leave at once. Moves money: no.

        The engine calls this before each order, one order at a time, then checks whether the order may still leave,
        and then calls `place_order`, which therefore sends it without another wait. A broker without a rate limit,
        or whose library answers "too many requests" at once, does not need it.

        Raises:
            BrokerConnectionError: The connection is lost, or there was no turn before the deadline. Nothing was sent.
        """

    @abstractmethod
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
        """Submit one order and wait for the broker's acknowledgement. Moves money: yes.

        Args:
            account_id: Account to trade in.
            symbol: US stock or ETF.
            quantity: Whole shares; negative to sell.
            order_type: MARKET or LIMIT.
            price: Limit in USD per share; None for MARKET.
            client_order_id: Our id; the broker returns it with orders and executions.
            time_in_force: How long the order stays open.

        Raises:
            OrderRejected: The broker rejected the order. It does not exist.
            OrderOutcomeUnknown: The order may exist. Never submit it again; reconcile it.
            CapabilityMissing: The connector does not support this kind of order. Nothing was submitted.
        """

    @abstractmethod
    async def cancel_order(self, account_id: str, order_id: str) -> None:
        """Request the cancellation of an order, which can still fill afterwards. Moves money: no.

        Raises:
            OrderExecutionError: The broker did not accept the request.
        """

    @abstractmethod
    async def get_open_orders(self, account_id: str) -> list[OpenOrder]:
        """Return every open order of the account, including those of other clients. Moves money: no."""

    @abstractmethod
    async def get_order_status(self, account_id: str, order_id: str) -> OrderResult:
        """Return the status of an order; NOT_FOUND if the broker does not know the order. Moves money: no."""

    @abstractmethod
    async def find_order(self, account_id: str, client_order_id: str) -> OrderResult | None:
        """Look an order up in open and completed orders. Moves money: no.

        Returns:
            None if the broker has no such order. This is proof only because a failed lookup raises. ERROR, with the
            broker's message, if it has no such order after it reported an error that alone does not prove a rejection.
        """

    @abstractmethod
    async def get_executions(
        self, account_id: str, *, since: datetime, client_order_id: str | None = None
    ) -> list[Execution]:
        """Return the fills since an instant, including manual trades, oldest first. Moves money: no."""

    @abstractmethod
    def order_updates(self) -> AsyncIterator[OrderUpdate]:
        """Stream every order change and every fill of the slot's accounts from this call on. Moves money: no.

        Updates can be duplicated and reordered. The reader decides by execution ids and quantities.

        Raises:
            BrokerConnectionError: The connection is lost. Reconcile to find what happened since.
        """

    async def check_feasible(self, account_id: str, symbol: str, quantity: Decimal, price: Decimal) -> Feasibility:
        """Check with a what-if order whether the broker would accept an order. Moves money: no."""
        raise CapabilityMissing(f"The connector {self.name} does not support what-if orders.")


class BaseRebalancer(ABC):
    """Executes one run of one account over an open connection, for any broker."""

    @abstractmethod
    async def calculate_rebalance(self) -> None:
        """Calculate the plan only. Moves money: no."""

    @abstractmethod
    async def rebalance(self) -> None:
        """Calculate the plan and trade it. Moves money: yes."""
