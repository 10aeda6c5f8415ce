"""Snapshots: values of one account at a time, positions of all by push, and cash that does not lag behind fills."""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from ib_async import AccountValue, PortfolioItem, Position

from brokers.broker_types import AccountPosition, AccountSnapshot, Execution, SecurityKind
from brokers.exceptions import IncompleteAccountData
from brokers.ibkr import mapping
from brokers.ibkr.connection import GatewayConnection
from brokers.ibkr.ib_client import IBClient
from brokers.ibkr.order_tracker import OrderTracker
from brokers.ibkr.quotes import Quotes

logger = logging.getLogger("rebalancer.brokers")

VALUES_LAG_SECONDS = 5.0
"""For so long after a fill of an earlier connection the pushed values are not believed."""
VALUES_RENEWED_SECONDS = 200.0
"""After so long they are; the broker renews them every three minutes, whatever happens."""
VALUES_DEADLINE_SECONDS = 20.0
"""For so long values are asked for again; then they are taken as they are, and the plan's own checks judge them."""
VALUES_AGAIN_SECONDS = 1.0
CASH_TOLERANCE_USD = Decimal("0.05")
MISMATCH_SHARE = Decimal("0.005")
"""Values that differ by more of the total from cash and positions are of another moment than the positions."""


@dataclass(frozen=True)
class _Base:
    """Cash as it was pushed, and the fills that it contains."""

    cash: Decimal
    contained: frozenset[str]


class Accounts:
    """The accounts of a link."""

    def __init__(self, link: GatewayConnection, ledger: OrderTracker, quotes: Quotes) -> None:
        self._link = link
        self._ledger = ledger
        self._quotes = quotes
        self._bases: dict[str, _Base] = {}
        self._asked_last = ""
        self._executions_known = False
        self._asking_executions = asyncio.Lock()

    async def snapshot(self, account_id: str) -> AccountSnapshot:
        """The account now.

        Raises:
            IncompleteAccountData: a value is missing, or the account's base currency is not the dollar.
        """
        self._link.check_managed(account_id)
        pushed = await (self._ask(account_id) if account_id in self._bases else self._first_look(account_id))
        return pushed.model_copy(update={"cash_usd": self._cash_now(account_id, pushed.cash_usd)})

    async def positions(self, account_id: str) -> tuple[AccountPosition, ...]:
        """The positions as they were pushed; not while the gateway is cut off, for it tells of no change then."""
        await self._link.until_joined()
        await self._link.until_confirmed()
        return tuple(self._positions(self._link.wire.positions(account_id), {}, Values(account_id, ())))

    # ---- asking

    async def _ask(self, account_id: str) -> AccountSnapshot:
        """The account as it was pushed."""

        async def ask(wire: IBClient) -> tuple[list[AccountValue], Mapping[int, PortfolioItem]]:
            if self._asked_last == account_id:
                wire.client.reqAccountUpdates(False, account_id)  # what is subscribed already is not sent anew
            self._asked_last = account_id
            await wire.ask_account(account_id)
            items = {item.contract.conId: item for item in wire.portfolio(account_id)}
            return wire.accountValues(account_id), items

        values, items = await self._link.ask(f"the values of account {account_id}", ask, lock="account")
        await self._link.until_confirmed()
        rows = Values(account_id, values)
        positions = self._positions(self._link.wire.positions(account_id), items, rows)
        return AccountSnapshot(
            account_id=account_id,
            total_value_usd=rows.net_liquidation(),
            cash_usd=rows.cash(),
            settled_cash_usd=rows.settled_cash(),
            positions=(*positions, *rows.foreign_cash()),
            as_of=datetime.now(UTC),
        )

    async def _first_look(self, account_id: str) -> AccountSnapshot:
        """Nothing is known of cash before: values that may lag behind the fills of a moment ago are asked for again.

        That is until they are old enough and agree with the positions, or the deadline passes.
        """
        pushed, _ = await asyncio.gather(self._ask(account_id), self._executions_once())
        loop = asyncio.get_running_loop()
        deadline = loop.time() + VALUES_DEADLINE_SECONDS
        while self._may_lag(pushed) and loop.time() < deadline:
            logger.info("Account %s was traded a moment ago; its values may lag and are asked for again", account_id)
            await asyncio.sleep(VALUES_AGAIN_SECONDS)  # pushed when the broker likes; there is nothing to wait on
            pushed = await self._ask(account_id)
        return pushed

    def _may_lag(self, pushed: AccountSnapshot) -> bool:
        newest = max((fill.executed_at for fill in self._fills(pushed.account_id)), default=None)
        if newest is None:
            return False
        age_seconds = (datetime.now(UTC) - newest).total_seconds()
        if age_seconds < VALUES_LAG_SECONDS:
            return True
        return age_seconds < VALUES_RENEWED_SECONDS and not _adds_up(pushed)

    async def _executions_once(self) -> None:
        async def ask(wire: IBClient) -> None:
            await wire.reqExecutionsAsync()

        async with self._asking_executions:  # of all accounts, whoever asks first
            if not self._executions_known:
                await self._link.ask("today's executions", ask, lock="executions")
                self._executions_known = True

    # ---- cash

    def _fills(self, account_id: str) -> list[Execution]:
        return self._ledger.executions(account_id, datetime.min.replace(tzinfo=UTC))

    def _cash_now(self, account_id: str, pushed: Decimal) -> Decimal:
        """Cash from fills and commissions; what is pushed lags by seconds, and is the check."""
        fills = self._fills(account_id)
        base = self._bases.get(account_id)
        if base is None:
            self._bases[account_id] = _Base(pushed, frozenset(fill.execution_id for fill in fills))
            return pushed
        flow = sum((_flow(fill) for fill in fills if fill.execution_id not in base.contained), Decimal(0))
        expected = base.cash + flow
        if abs(pushed - expected) <= CASH_TOLERANCE_USD:
            self._bases[account_id] = _Base(pushed, frozenset(fill.execution_id for fill in fills))
            return pushed
        if flow:
            logger.info("Cash of account %s lags behind its fills; it is taken from them", account_id)
            return expected if pushed == base.cash else min(pushed, expected)
        self._bases[account_id] = _Base(pushed, base.contained)  # money came or went without a trade
        return pushed

    # ---- positions

    def _positions(
        self, positions: Iterable[Position], items: Mapping[int, PortfolioItem], rows: "Values"
    ) -> Iterable[AccountPosition]:
        for position in positions:
            contract = position.contract
            symbol = mapping.our_symbol(contract)
            item = items.get(contract.conId)
            mark = mapping.unit_mark(item, rows.rate(contract.currency)) if item else None
            if mark is None and mapping.is_us_stock(contract):
                mark = self._quotes.middle(symbol)
            yield AccountPosition(
                symbol=symbol,
                quantity=mapping.amount(position.position),
                market_price=mark,
                average_cost=mapping.exact(position.avgCost),
                contract_id=str(contract.conId),
                kind=mapping.security_kind(contract.secType),
                currency=contract.currency or "USD",
            )


class Values:
    """The rows of one account."""

    def __init__(self, account_id: str, rows: Iterable[AccountValue]) -> None:
        self._account_id = account_id
        self._rows = {(row.tag, row.currency): row.value for row in rows}

    def net_liquidation(self) -> Decimal:
        """In USD.

        Raises:
            IncompleteAccountData: it is missing, or in another currency.
        """
        if self._rows.get(("AccountReady", "")) == "false":
            raise IncompleteAccountData(f"The gateway is still loading account {self._account_id}. Try again.")
        found = {currency: value for (tag, currency), value in self._rows.items() if tag == "NetLiquidation"}
        if found and "USD" not in found:
            raise IncompleteAccountData(
                f"The base currency of account {self._account_id} is {', '.join(found)}; only accounts in USD are "
                "traded."
            )
        return self._needed("NetLiquidation")

    def cash(self) -> Decimal:
        """Dollars; other currencies are positions."""
        if ("CashBalance", "USD") in self._rows:
            return self._needed("CashBalance")
        return self._needed("TotalCashValue")

    def settled_cash(self) -> Decimal | None:
        """Dollars that are settled, where the broker says so."""
        return mapping.exact(self._rows.get(("SettledCash", "USD")))

    def rate(self, currency: str) -> Decimal | None:
        """USD for one unit of the currency, as the broker counts it."""
        return Decimal(1) if currency in {"USD", ""} else mapping.price(self._rows.get(("ExchangeRate", currency)))

    def foreign_cash(self) -> list[AccountPosition]:
        """Cash in other currencies: carried, and never matched with a target."""
        held = [
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
            for currency, quantity in held
            if quantity
        ]

    def _needed(self, tag: str) -> Decimal:
        number = mapping.exact(self._rows.get((tag, "USD")))
        if number is None:
            raise IncompleteAccountData(
                f"{tag} of account {self._account_id} is missing from what the gateway says. Nothing is traded "
                "without it; look whether the account is open in the gateway, and try again."
            )
        return number


def _adds_up(pushed: AccountSnapshot) -> bool:
    """Whether the pushed total is what cash and positions come to: trades move the two, and not the total."""
    worth = sum((one.quantity * (one.market_price or Decimal(0)) for one in pushed.positions), pushed.cash_usd)
    return abs(pushed.total_value_usd - worth) <= MISMATCH_SHARE * abs(pushed.total_value_usd)


def _flow(fill: Execution) -> Decimal:
    return -fill.quantity * fill.price_usd - (fill.commission_usd or Decimal(0))
