"""The value rows that the broker reports for an account: total value, cash, exchange rates."""

from collections.abc import Iterable
from decimal import Decimal

from ib_async import AccountValue

from brokers.broker_types import AccountNote, AccountPosition, SecurityKind
from brokers.exceptions import IncompleteAccountData
from brokers.ibkr import mapping
from calculator.formats import money

CENT = Decimal("0.01")
CURRENCY_CASH_TAGS = ("CashBalance", "TotalCashBalance")
"""Rows with the cash of one currency. With a deposit sweep the first counts the swept money twice."""
TOTAL_CASH_TAG = "TotalCashValue"
"""The cash of all currencies together."""


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
        if (value := self._number("NetLiquidation", "USD")) is None:
            raise self._missing("NetLiquidation")
        return value

    def cash(self) -> Decimal:
        """Return the cash in USD, the smallest that is reported. Other currencies are reported as positions.

        Raises:
            IncompleteAccountData: No row reports it.
        """
        if not (reported := self._cash_rows("USD")):
            raise self._missing(TOTAL_CASH_TAG)
        return min(reported.values())

    def notes(self) -> list[AccountNote]:
        """Return a note if the rows disagree about the cash in USD."""
        reported = self._cash_rows("USD")
        if not reported or max(reported.values()) - min(reported.values()) <= CENT:
            return []
        amounts = ", ".join(f"{tag} {money(amount)}" for tag, amount in reported.items())
        return [
            AccountNote(
                code="cash_differs",
                message=f"The broker reports the cash differently: {amounts}. The smallest is used.",
            )
        ]

    def settled_cash(self) -> Decimal | None:
        """Return the settled cash in USD, if the broker reports it."""
        return self._number("SettledCash", "USD")

    def rate(self, currency: str) -> Decimal | None:
        """Return the broker's exchange rate: USD for one unit of the currency."""
        return Decimal(1) if currency in {"USD", ""} else mapping.price(self._rows.get(("ExchangeRate", currency)))

    def foreign_cash(self) -> list[AccountPosition]:
        """Return cash in other currencies as positions, which are never matched with a target; debts are negative."""
        balances = [(currency, self._cash_rows(currency)) for currency in self._foreign_currencies()]
        return [
            AccountPosition(
                symbol=currency,
                quantity=mapping.amount(min(reported.values())),
                market_price=self.rate(currency),
                contract_id=f"CASH:{currency}",
                kind=SecurityKind.CASH,
                currency=currency,
            )
            for currency, reported in balances
            if reported and abs(min(reported.values())) >= CENT
        ]

    def _foreign_currencies(self) -> list[str]:
        return sorted(
            {currency for tag, currency in self._rows if tag in CURRENCY_CASH_TAGS and currency not in {"USD", "BASE"}}
        )

    def _cash_rows(self, currency: str) -> dict[str, Decimal]:
        """Return the reported cash of a currency by tag."""
        found = {tag: self._number(tag, currency) for tag in CURRENCY_CASH_TAGS}
        cash, total = found.values()
        futures = self._number("FuturesPNL", currency)
        if cash is not None and total is not None and futures is not None and abs(cash + futures - total) <= CENT:
            found["CashBalance"] = total  # they differ by the profit and loss of futures, which is cash
        has_foreign_cash = any(
            self._number(tag, foreign) for foreign in self._foreign_currencies() for tag in CURRENCY_CASH_TAGS
        )
        if currency == "USD" and not has_foreign_cash:
            found[TOTAL_CASH_TAG] = self._number(TOTAL_CASH_TAG, currency)
        return {tag: amount for tag, amount in found.items() if amount is not None}

    def _number(self, tag: str, currency: str) -> Decimal | None:
        return mapping.exact(self._rows.get((tag, currency)))

    def _missing(self, tag: str) -> IncompleteAccountData:
        return IncompleteAccountData(
            f"The gateway did not report {tag} of account {self._account_id}, so nothing is traded. Check that the "
            "account is open in the gateway, and try again."
        )
