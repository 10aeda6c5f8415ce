"""The contract of a connector: what the engine may ask of any broker."""

import logging
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import ClassVar, Protocol

from brokers.broker_types import (
    AccountPosition,
    AccountSnapshot,
    BrokerCapabilities,
    ConnectionSettings,
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

logger = logging.getLogger("rebalancer.brokers")


class PriceCache(Protocol):
    """Quotes that another run has fetched a moment ago. It knows its own time to live."""

    async def get(self, symbols: Sequence[str]) -> Mapping[str, ContractPrice]:
        """The quotes that are fresh enough; the others are left out."""

    async def put(self, prices: Mapping[str, ContractPrice]) -> None:
        """Keeps them for the next."""


class NoPriceCache:
    """Remembers nothing."""

    async def get(self, symbols: Sequence[str]) -> Mapping[str, ContractPrice]:
        """Nothing is there."""
        return {}

    async def put(self, prices: Mapping[str, ContractPrice]) -> None:
        """Nothing is kept."""


class ContractCache(Protocol):
    """Contracts that another run has looked up today."""

    async def get(self, symbols: Sequence[str]) -> Mapping[str, ContractFacts]:
        """Those that are known and still good; the others are left out."""

    async def put(self, contracts: Mapping[str, ContractFacts]) -> None:
        """Keeps them for the next."""


class NoContractCache:
    """Remembers nothing."""

    async def get(self, symbols: Sequence[str]) -> Mapping[str, ContractFacts]:
        """Nothing is there."""
        return {}

    async def put(self, contracts: Mapping[str, ContractFacts]) -> None:
        """Nothing is kept."""


class BrokerClient(ABC):
    """One open link to a broker, for the accounts of one connection slot.

    All methods are coroutines of one event loop, end within the deadlines of their `ConnectionSettings`, and
    raise the errors of `brokers.exceptions` only. Methods may be called concurrently for different accounts.
    """

    name: ClassVar[str]
    capabilities: ClassVar[BrokerCapabilities]

    def __init__(
        self,
        settings: ConnectionSettings,
        price_cache: PriceCache | None = None,
        contract_cache: ContractCache | None = None,
    ) -> None:
        self.settings = settings
        self.price_cache: PriceCache = price_cache or NoPriceCache()
        self.contract_cache: ContractCache = contract_cache or NoContractCache()

    @abstractmethod
    async def connect(self) -> None:
        """Opens the link with the slot's client id. Moves money: no.

        Raises:
            BrokerConnectionError: there is no usable link; come back later with the same client id.
        """

    @abstractmethod
    async def disconnect(self) -> None:
        """Closes the link when every order that was sent is acknowledged. Never raises. Moves money: no."""

    @property
    @abstractmethod
    def is_connected(self) -> bool:
        """Whether the link is up as far as this side can know."""

    @abstractmethod
    async def get_account_snapshot(self, account_id: str, *, use_cached_prices: bool = False) -> AccountSnapshot:
        """The account now: value, cash and every position. Moves money: no.

        Raises:
            IncompleteAccountData: something is missing; do not trade.
            BrokerConnectionError: the link is gone or silent.
        """

    async def get_positions(self, account_id: str) -> tuple[AccountPosition, ...]:
        """Every position of the account now; values need not be known for it. Moves money: no.

        Raises:
            BrokerConnectionError: the link is gone or silent.
        """
        return (await self.get_account_snapshot(account_id)).positions

    async def get_multiple_market_prices(
        self, symbols: Sequence[str], *, use_cache: bool = True
    ) -> dict[str, ContractPrice]:
        """The quotes of the symbols; one that the broker has no quote for is left out. Moves money: no.

        Returns:
            By symbol, in the order asked.

        Raises:
            MarketDataUnavailable: the broker says that it may not or cannot quote at all.
            BrokerConnectionError: the link is gone or silent.
        """
        cached = dict(await self.price_cache.get(symbols)) if use_cache else {}
        now = datetime.now(UTC)
        for symbol, price in cached.items():
            age_seconds = (now - price.as_of).total_seconds()
            logger.info("Using cached price for %s (age %.1fs)", symbol, age_seconds)
        missing = [symbol for symbol in dict.fromkeys(symbols) if symbol not in cached]
        fresh = await self._fetch_prices(missing) if missing else {}
        if fresh:
            await self.price_cache.put(fresh)
        found = {**cached, **fresh}
        return {symbol: found[symbol] for symbol in dict.fromkeys(symbols) if symbol in found}

    @abstractmethod
    async def _fetch_prices(self, symbols: Sequence[str]) -> dict[str, ContractPrice]:
        """The quotes of the symbols from the broker itself."""

    @abstractmethod
    async def unknown_symbols(self, symbols: Sequence[str]) -> tuple[str, ...]:
        """Those of the symbols that the broker cannot trade as a US stock or ETF. Moves money: no."""

    async def closed_symbols(self, symbols: Sequence[str], at: datetime) -> tuple[str, ...]:
        """Those of the symbols whose own exchange is closed at the instant, as far as the broker says. Moves money: no.

        Sessions are the calendar's; this is for an exchange that keeps other hours, or a day that no calendar foresaw.
        """
        return ()

    async def describe(self, symbols: Sequence[str]) -> dict[str, InstrumentName]:
        """What people call the symbols, as far as the connector knows without asking far. Moves money: no.

        Returns:
            By symbol; those without a known name are left out.
        """
        return {}

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
        """Sends one order and waits for the first word of the broker. Moves money: yes.

        Args:
            account_id: the account to trade in.
            symbol: a US stock or ETF.
            quantity: whole shares, negative to sell.
            order_type: MARKET or LIMIT.
            price: the limit in USD a share; None for MARKET.
            client_order_id: ours; the broker hands it back with orders and executions.
            time_in_force: how long the order lives.

        Raises:
            OrderRejected: the broker refused; the order does not exist.
            OrderOutcomeUnknown: it may exist. Never send it again: reconcile.
            CapabilityMissing: the connector cannot do this kind of order; nothing was sent.
        """

    @abstractmethod
    async def cancel_order(self, account_id: str, order_id: str) -> None:
        """Asks for a cancel. It is a request: the order can still fill. Moves money: no.

        Raises:
            OrderExecutionError: the broker did not take the request.
        """

    @abstractmethod
    async def get_open_orders(self, account_id: str) -> list[OpenOrder]:
        """Every live order of the account, ours or anybody's. Moves money: no."""

    @abstractmethod
    async def get_order_status(self, account_id: str, order_id: str) -> OrderResult:
        """What the broker says of the order; status NOT_FOUND when it knows none. Moves money: no."""

    @abstractmethod
    async def find_order(self, account_id: str, client_order_id: str) -> OrderResult | None:
        """Looks in open and completed orders. None proves something only if nothing was raised. Moves money: no."""

    @abstractmethod
    async def get_executions(
        self, account_id: str, *, since: datetime, client_order_id: str | None = None
    ) -> list[Execution]:
        """The fills since an instant, manual ones included, oldest first. Moves money: no."""

    @abstractmethod
    def order_updates(self) -> AsyncIterator[OrderUpdate]:
        """Every change of an order and every fill of the slot's accounts, as they come.

        Duplicates and a different order are possible: the reader decides by execution ids and quantities.

        Raises:
            BrokerConnectionError: the link is gone; what happened since is found by reconciling.
        """

    async def check_feasible(self, account_id: str, symbol: str, quantity: Decimal, price: Decimal) -> Feasibility:
        """Asks whether the broker would take the order (whatIf). Moves money: no."""
        raise CapabilityMissing(f"The connector {self.name} cannot test an order before it is sent.")


class BaseRebalancer(ABC):
    """Carries out one run of one account over an open link, whatever the broker."""

    @abstractmethod
    async def calculate_rebalance(self) -> None:
        """Plans and stops there. Moves money: no."""

    @abstractmethod
    async def rebalance(self) -> None:
        """Plans and trades. Moves money: yes."""
