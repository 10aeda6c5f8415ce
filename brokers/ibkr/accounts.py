"""Account snapshots: values are requested per account, positions are pushed, and cash includes the latest fills."""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from ib_async import AccountValue, PortfolioItem, Position

from brokers.broker_types import AccountPosition, AccountSnapshot, Execution, SecurityKind
from brokers.exceptions import ExecutionsUnavailable
from brokers.ibkr import mapping
from brokers.ibkr.account_rows import AccountRows
from brokers.ibkr.connection import GatewayConnection
from brokers.ibkr.contracts import Contracts
from brokers.ibkr.ib_client import IBClient
from brokers.ibkr.limits import Limits
from brokers.ibkr.order_tracker import OrderTracker
from brokers.ibkr.quotes import Quotes

logger = logging.getLogger("rebalancer.brokers")

CASH_TOLERANCE_USD = Decimal("0.05")
MISMATCH_SHARE = Decimal("0.005")
"""Share of the total value. If the total differs by more from cash and positions, they are of different instants."""


@dataclass(frozen=True)
class _CashBase:
    """Reported cash, and the ids of the executions that it includes."""

    cash: Decimal
    execution_ids: frozenset[str]


class Accounts:
    """The accounts of a connection."""

    def __init__(
        self,
        limits: Limits,
        connection: GatewayConnection,
        order_tracker: OrderTracker,
        quotes: Quotes,
        contracts: Contracts,
    ) -> None:
        self._limits = limits
        self._connection = connection
        self._order_tracker = order_tracker
        self._quotes = quotes
        self._contracts = contracts
        self._cash_bases: dict[str, _CashBase] = {}
        self._last_requested = ""
        self._executions_known = False
        self._executions_lock = asyncio.Lock()

    async def snapshot(self, account_id: str) -> AccountSnapshot:
        """Return the current state of the account.

        Raises:
            IncompleteAccountData: A value is missing, or the account's base currency is not USD.
        """
        self._connection.check_managed(account_id)
        request = self._request if account_id in self._cash_bases else self._first_request
        reported = await request(account_id)
        return reported.model_copy(
            update={
                "cash_usd": self._current_cash(account_id, reported.cash_usd),
                "reported_cash_usd": reported.cash_usd,
            }
        )

    async def positions(self, account_id: str) -> tuple[AccountPosition, ...]:
        """Return the pushed positions; wait while the gateway is disconnected from the broker and pushes none."""
        await self._connection.until_broker_up()
        await self._connection.until_downloaded()
        return await self._positions(account_id, {}, AccountRows(account_id, ()))

    # ---- requests

    async def _request(self, account_id: str) -> AccountSnapshot:
        """Return the account as reported by the broker."""

        async def send(ib: IBClient) -> tuple[list[AccountValue], Mapping[int, PortfolioItem]]:
            if self._last_requested == account_id:
                ib.client.reqAccountUpdates(False, account_id)  # an existing subscription would send nothing
            self._last_requested = account_id
            await ib.request_account(account_id)
            items = {item.contract.conId: item for item in ib.portfolio(account_id)}
            return ib.accountValues(account_id), items

        values, items = await self._connection.request(f"the values of account {account_id}", send, lock="account")
        await self._connection.until_downloaded()
        rows = AccountRows(account_id, values)
        positions = await self._positions(account_id, items, rows)
        return AccountSnapshot(
            account_id=account_id,
            total_value_usd=rows.net_liquidation(),
            cash_usd=rows.cash(),
            settled_cash_usd=rows.settled_cash(),
            positions=(*positions, *rows.foreign_cash()),
            notes=tuple(rows.notes()),
            as_of=datetime.now(UTC),
        )

    async def _first_request(self, account_id: str) -> AccountSnapshot:
        """Request the values of an account without a cash base, and repeat it while they can lag behind recent fills.

        The values are used once they are old enough and agree with the positions, or after the maximum wait.
        """
        reported, _ = await asyncio.gather(self._request(account_id), self._request_executions_once())
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._limits.max_values_wait_seconds
        while self._can_lag(reported) and loop.time() < deadline:
            logger.info(
                "Account %s has recent fills that its values may not include; requesting them again", account_id
            )
            await asyncio.sleep(self._limits.values_retry_seconds)  # the broker sends no event to wait for
            reported = await self._request(account_id)
        return reported

    def _can_lag(self, reported: AccountSnapshot) -> bool:
        newest = max((fill.executed_at for fill in self._executions(reported.account_id)), default=None)
        if newest is None:
            return False
        age_seconds = (datetime.now(UTC) - newest).total_seconds()
        if age_seconds < self._limits.values_lag_seconds:
            return True
        return age_seconds < self._limits.values_renewed_seconds and not _is_consistent(reported)

    async def _request_executions_once(self) -> None:
        """Request the executions of all accounts, unless another account did so already."""
        async with self._executions_lock:
            if not self._executions_known:
                try:
                    await self._connection.request_executions()
                except ExecutionsUnavailable as error:
                    logger.warning("%s Account values are used without comparing them with fills", error.message)
                self._executions_known = True

    # ---- cash

    def _executions(self, account_id: str) -> list[Execution]:
        return self._order_tracker.executions(account_id, datetime.min.replace(tzinfo=UTC))

    def _fills(self, account_id: str) -> list[Execution]:
        """Return the fills that change the cash in USD by quantity times price; others show in reported cash only."""
        fills = self._executions(account_id)
        return [fill for fill in fills if fill.kind is SecurityKind.STOCK and fill.currency == "USD"]

    def _current_cash(self, account_id: str, reported: Decimal) -> Decimal:
        """Calculate cash from fills and commissions. Reported cash lags by seconds, and verifies the result."""
        fills = self._fills(account_id)
        base = self._cash_bases.get(account_id) or _CashBase(reported, frozenset(fill.execution_id for fill in fills))
        flow = sum((_cash_flow(fill) for fill in fills if fill.execution_id not in base.execution_ids), Decimal(0))
        expected = base.cash + flow
        if abs(reported - expected) <= CASH_TOLERANCE_USD:
            self._cash_bases[account_id] = _CashBase(reported, frozenset(fill.execution_id for fill in fills))
            return reported
        if flow:
            logger.info("Reported cash of account %s lags behind its fills; calculating it from the fills", account_id)
            return expected if reported == base.cash else min(reported, expected)
        self._cash_bases[account_id] = _CashBase(reported, base.execution_ids)  # a deposit, withdrawal or fee
        return reported

    # ---- positions

    async def _positions(
        self, account_id: str, items: Mapping[int, PortfolioItem], rows: AccountRows
    ) -> tuple[AccountPosition, ...]:
        """Return the pushed positions, and which of them are of the contract that an order for their symbol trades."""
        held = {one.contract.conId: one for one in self._connection.ib.positions(account_id)}
        symbols = {mapping.our_symbol(one.contract) for one in held.values() if mapping.is_us_stock(one.contract)}
        traded = await self._contracts.traded_ids(sorted(symbols))
        return tuple(self._position(one, items.get(con_id), rows, traded) for con_id, one in held.items())

    def _position(
        self, position: Position, item: PortfolioItem | None, rows: AccountRows, traded: Mapping[str, str]
    ) -> AccountPosition:
        contract = position.contract
        symbol, contract_id = mapping.our_symbol(contract), str(contract.conId)
        is_other = mapping.is_us_stock(contract) and traded.get(symbol, contract_id) != contract_id
        mark = mapping.unit_mark(contract, item, rows.rate(contract.currency))
        if mark is None and mapping.is_us_stock(contract) and not is_other:
            mark = self._quotes.mid(symbol)
        return AccountPosition(
            symbol=symbol,
            quantity=mapping.amount(position.position),
            market_price=mark,
            average_cost=mapping.exact(position.avgCost),
            contract_id=contract_id,
            kind=mapping.security_kind(contract),
            currency=contract.currency or "USD",
            exchange=contract.exchange or contract.primaryExchange,
            is_other_contract=is_other,
        )


def _is_consistent(reported: AccountSnapshot) -> bool:
    """Return whether the total equals cash plus positions. A trade changes these two, but not the total."""
    sum_usd = sum((one.quantity * (one.market_price or Decimal(0)) for one in reported.positions), reported.cash_usd)
    return abs(reported.total_value_usd - sum_usd) <= MISMATCH_SHARE * abs(reported.total_value_usd)


def _cash_flow(fill: Execution) -> Decimal:
    return -fill.quantity * fill.price_usd - (fill.commission_usd or Decimal(0))
