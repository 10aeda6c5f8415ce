"""Account snapshots: values are requested per account, positions are pushed, and cash includes the latest fills."""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from ib_async import AccountValue, PortfolioItem, Position

from brokers.broker_types import AccountPosition, AccountSnapshot, Execution, SecurityKind
from brokers.exceptions import ExecutionsUnavailable, IncompleteAccountData
from brokers.ibkr import mapping
from brokers.ibkr.connection import GatewayConnection
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
        self, limits: Limits, connection: GatewayConnection, order_tracker: OrderTracker, quotes: Quotes
    ) -> None:
        self._limits = limits
        self._connection = connection
        self._order_tracker = order_tracker
        self._quotes = quotes
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
        return reported.model_copy(update={"cash_usd": self._current_cash(account_id, reported.cash_usd)})

    async def positions(self, account_id: str) -> tuple[AccountPosition, ...]:
        """Return the pushed positions; wait while the gateway is disconnected from the broker and pushes none."""
        await self._connection.until_broker_up()
        await self._connection.until_downloaded()
        return tuple(self._positions(self._connection.ib.positions(account_id), {}, AccountRows(account_id, ())))

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
        positions = self._positions(self._connection.ib.positions(account_id), items, rows)
        return AccountSnapshot(
            account_id=account_id,
            total_value_usd=rows.net_liquidation(),
            cash_usd=rows.cash(),
            settled_cash_usd=rows.settled_cash(),
            positions=(*positions, *rows.foreign_cash()),
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
        newest = max((fill.executed_at for fill in self._fills(reported.account_id)), default=None)
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

    def _fills(self, account_id: str) -> list[Execution]:
        return self._order_tracker.executions(account_id, datetime.min.replace(tzinfo=UTC))

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

    def _positions(
        self, positions: Iterable[Position], items: Mapping[int, PortfolioItem], rows: "AccountRows"
    ) -> Iterable[AccountPosition]:
        for position in positions:
            contract = position.contract
            symbol = mapping.our_symbol(contract)
            item = items.get(contract.conId)
            mark = mapping.unit_mark(item, rows.rate(contract.currency)) if item else None
            if mark is None and mapping.is_us_stock(contract):
                mark = self._quotes.mid(symbol)
            yield AccountPosition(
                symbol=symbol,
                quantity=mapping.amount(position.position),
                market_price=mark,
                average_cost=mapping.exact(position.avgCost),
                contract_id=str(contract.conId),
                kind=mapping.KINDS.get(contract.secType, SecurityKind.OTHER),
                currency=contract.currency or "USD",
            )


class AccountRows:
    """The account value rows of one account, by tag and currency."""

    def __init__(self, account_id: str, rows: Iterable[AccountValue]) -> None:
        self._account_id = account_id
        self._rows = {(row.tag, row.currency): row.value for row in rows}

    def net_liquidation(self) -> Decimal:
        """Return the net liquidation value in USD.

        Raises:
            IncompleteAccountData: It is missing, or in another currency.
        """
        if self._rows.get(("AccountReady", "")) == "false":
            raise IncompleteAccountData(f"The gateway is still loading account {self._account_id}. Try again.")
        found = {currency: value for (tag, currency), value in self._rows.items() if tag == "NetLiquidation"}
        if found and "USD" not in found:
            raise IncompleteAccountData(
                f"The base currency of account {self._account_id} is {', '.join(found)}. Only accounts in USD are "
                "supported."
            )
        return self._required("NetLiquidation")

    def cash(self) -> Decimal:
        """Return the cash in USD. Cash in other currencies is reported as positions."""
        if ("CashBalance", "USD") in self._rows:
            return self._required("CashBalance")
        return self._required("TotalCashValue")

    def settled_cash(self) -> Decimal | None:
        """Return the settled cash in USD, if the broker reports it."""
        return mapping.exact(self._rows.get(("SettledCash", "USD")))

    def rate(self, currency: str) -> Decimal | None:
        """Return the broker's exchange rate: USD for one unit of the currency."""
        return Decimal(1) if currency in {"USD", ""} else mapping.price(self._rows.get(("ExchangeRate", currency)))

    def foreign_cash(self) -> list[AccountPosition]:
        """Return cash in other currencies as positions, which are never matched with a target."""
        balances = [
            (currency, mapping.amount(value))
            for (tag, currency), value in sorted(self._rows.items())
            if tag == "CashBalance" and currency not in {"USD", "BASE"}
        ]
        return [
            AccountPosition(
                symbol=currency,
                quantity=quantity,
                market_price=self.rate(currency),
                contract_id=f"CASH:{currency}",
                kind=SecurityKind.CASH,
                currency=currency,
            )
            for currency, quantity in balances
            if quantity
        ]

    def _required(self, tag: str) -> Decimal:
        number = mapping.exact(self._rows.get((tag, "USD")))
        if number is None:
            raise IncompleteAccountData(
                f"The gateway did not report {tag} of account {self._account_id}, so nothing is traded. Check that the "
                "account is open in the gateway, and try again."
            )
        return number


def _is_consistent(reported: AccountSnapshot) -> bool:
    """Return whether the total equals cash plus positions. A trade changes these two, but not the total."""
    sum_usd = sum((one.quantity * (one.market_price or Decimal(0)) for one in reported.positions), reported.cash_usd)
    return abs(reported.total_value_usd - sum_usd) <= MISMATCH_SHARE * abs(reported.total_value_usd)


def _cash_flow(fill: Execution) -> Decimal:
    return -fill.quantity * fill.price_usd - (fill.commission_usd or Decimal(0))
