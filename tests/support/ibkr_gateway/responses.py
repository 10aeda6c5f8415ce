"""Responses about accounts, contracts, quotes and orders."""

from collections.abc import Iterator
from decimal import Decimal
from typing import TYPE_CHECKING

from tests.support.ibkr_gateway import messages
from tests.support.ibkr_gateway.account_records import GatewayOrder, Instrument
from tests.support.ibkr_gateway.faults import Kind
from tests.support.ibkr_gateway.requests import RequestedContract

if TYPE_CHECKING:
    from tests.support.ibkr_gateway.session import Session

MARKET_RULES = {26: [("0", "0.01")], 32: [("0", "0.0001"), ("1", "0.01")]}
OTHER_VALUES = 150
"""Number of further values that a real account has; they are sent to produce the same amount of data."""
QUOTE_KINDS = (
    Kind.MISSING_QUOTE,
    Kind.EMPTY_QUOTE,
    Kind.CROSSED_QUOTE,
    Kind.ONE_SIDED_QUOTE,
    Kind.WIDE_QUOTE,
    Kind.FARM_LOST,
    Kind.QUOTE_ERROR,
    Kind.DELAYED_QUOTE,
)
NO_CONTRACT = "No security definition has been found for the request"


class Responses:
    """Responds to the requests of one session."""

    def __init__(self, session: "Session") -> None:
        self._session = session
        self._gateway = session.gateway
        self._records = session.gateway.records
        self._script = session.gateway.script
        self._send = session.send

    # ---- accounts

    def positions(self) -> None:
        for account_id in self._gateway.managed_accounts:
            for instrument, quantity, cost in self._held(account_id):
                self._send(messages.position(account_id, instrument, quantity, cost))
        if not self._script.take(Kind.NO_POSITIONS_END):
            self._send(messages.position_end())

    def account_updates(self, account_id: str, *, subscribe: bool) -> None:
        if not subscribe or account_id not in self._records.accounts:
            return
        if self._gateway.followed is not None and self._gateway.followed[1] != account_id:
            message = "Unable to subscribe to account as the following clients are subscribed to a different account."
            self._send(messages.error(-1, 2101, f"{message}  {self._gateway.followed[0]}"))
            return
        for tag, value, currency in self._values(account_id):
            self._send(messages.account_value(account_id, tag, value, currency))
        for instrument, quantity, cost in self._held(account_id):
            if instrument.con_id not in self._records.accounts[account_id].without_row:
                self._send(messages.portfolio(account_id, instrument, quantity, cost))
        self._send(messages.account_time("15:31"))
        self._send(messages.account_download_end(account_id))

    def values_multi(self, request_id: int, account_id: str) -> None:
        for tag, value, currency in self._values(account_id):
            self._send(messages.account_value_multi(request_id, account_id, tag, value, currency))
        self._send(messages.account_values_multi_end(request_id))

    def _values(self, account_id: str) -> Iterator[tuple[str, object, str]]:
        currency = self._records.accounts[account_id].base_currency
        values = self._records.reported_values(account_id)
        yield "AccountCode", account_id, ""
        yield "AccountReady", "true", ""
        yield "AccountType", "INDIVIDUAL", ""
        if not self._script.take(Kind.NO_VALUE, account_id=account_id):
            yield "NetLiquidation", _cents(values["NetLiquidation"]), currency
        for of_currency in ("BASE", currency):
            yield "CashBalance", _cents(values["CashBalance"]), of_currency
            yield "TotalCashBalance", _cents(values["CashBalance"]), of_currency
        yield "TotalCashValue", _cents(values["CashBalance"]), currency
        yield "SettledCash", _cents(values["SettledCash"]), currency
        for number in range(OTHER_VALUES):
            yield f"Value{number}", "0.00", currency
        for (tag, of_currency), value in self._records.accounts[account_id].rows.items():
            yield tag, value, of_currency

    def _held(self, account_id: str) -> Iterator[tuple[Instrument, Decimal, Decimal]]:
        account = self._records.accounts[account_id]
        for con_id, quantity in account.positions.items():
            yield self._records.instruments[con_id], quantity, account.average_costs.get(con_id, Decimal(0))

    # ---- contracts and quotes

    def contract_details(self, request_id: int, requested: RequestedContract) -> None:
        found = [
            one
            for one in self._records.instruments.values()
            if not self._gateway.definitions_lost
            and (one.smart or requested.exchange != "SMART")
            and requested.con_id in {0, one.con_id}
            and requested.symbol in {"", one.symbol}
            and requested.sec_type in {"", one.sec_type}
            and requested.currency in {"", one.currency}
        ]
        if not found:
            self._send(messages.error(request_id, 200, NO_CONTRACT))
            return
        for instrument in found:
            self._send(messages.contract_details(request_id, instrument))
        self._send(messages.contract_details_end(request_id))

    def market_rule(self, rule_id: int) -> None:
        if not self._script.take(Kind.MUTE_RULE):
            self._send(messages.market_rule(rule_id, MARKET_RULES[rule_id]))

    def market_data(self, request_id: int, requested: RequestedContract) -> None:
        instrument = self._records.instruments.get(requested.con_id) or self._records.find_stock(requested.symbol)
        fault = self._script.take(*QUOTE_KINDS, symbol=requested.symbol)
        kind = fault.kind if fault else None
        if instrument is None:
            self._send(messages.error(request_id, 200, NO_CONTRACT))
            return
        if not self._gateway.has_free_line():
            self._send(messages.error(request_id, 101, "Max number of tickers has been reached"))
            return
        self._session.lines.add(request_id)
        if kind == Kind.FARM_LOST:
            self._send(messages.error(-1, 2103, "Market data farm connection is broken:usfarm"))
        if kind in {Kind.MISSING_QUOTE, Kind.FARM_LOST}:
            return
        if fault is not None and kind == Kind.QUOTE_ERROR:
            self._session.lines.discard(request_id)
            message = fault.message or f"Market data error {fault.code}."
            self._send(messages.error(request_id, fault.code, message))
            return
        delayed = kind == Kind.DELAYED_QUOTE or self._session.market_data_type == 3
        if kind == Kind.DELAYED_QUOTE:
            message = "Requested market data is not subscribed. Displaying delayed market data."
            self._send(messages.error(request_id, 10167, message))
        self._send(messages.tick_parameters(request_id, instrument))
        self._send(messages.market_data_type(request_id, 3 if delayed else self._session.market_data_type))
        if instrument.volume is not None:
            self._send(messages.tick_size(request_id, 74 if delayed else 8, instrument.volume))
        if instrument.halted is not None:
            self._send(messages.tick_generic(request_id, 90 if delayed else 49, instrument.halted))
        for tick_type, price, size in _ticks(instrument, kind):
            self._send(messages.tick_price(request_id, _DELAYED[tick_type] if delayed else tick_type, price, size))

    # ---- orders

    def _shown_orders(self) -> list[GatewayOrder]:
        return [] if self._session.is_empty else self._records.orders

    def open_orders(self, *, own: bool) -> None:
        for order in self._shown_orders():
            if order.is_open and (not own or order.client_id == self._session.client_id):
                self._send(messages.open_order(order))
                self._send(messages.order_status(order))
        self._send(messages.open_orders_end())

    def completed_orders(self) -> None:
        for order in self._shown_orders():
            if not order.is_open:
                self._send(messages.completed_order(order))
        self._send(messages.completed_orders_end())

    def executions(self, request_id: int, account_id: str) -> None:
        after_end = self._script.take(Kind.COMMISSION_AFTER_END)
        reports = []
        for order in self._shown_orders():
            if account_id in {"", order.account_id}:
                for fill in order.fills:
                    self._send(messages.execution(request_id, order, fill, self._records.time_form(fill.at)))
                    if fill.commission is not None:
                        reports.append(messages.commission_report(fill))
        if after_end:
            self._send(messages.executions_end(request_id))
        for report in reports:
            self._send(report)
        if not after_end:
            self._send(messages.executions_end(request_id))


_DELAYED = {1: 66, 2: 67, 4: 68, 9: 75}


def _ticks(instrument: Instrument, kind: Kind | None) -> Iterator[tuple[int, Decimal, int]]:
    bid, ask = (instrument.bid, 3), (instrument.ask, 5)
    if kind == Kind.EMPTY_QUOTE:
        bid = ask = (Decimal(-1), 0)
    elif kind == Kind.CROSSED_QUOTE:
        bid, ask = (instrument.ask, 3), (instrument.bid, 5)
    elif kind == Kind.WIDE_QUOTE:
        ask = (instrument.ask * 2, 5)
    elif kind == Kind.ONE_SIDED_QUOTE:
        ask = (Decimal(-1), 0)
    yield 1, *bid
    yield 2, *ask
    yield 4, instrument.mark, 1
    yield 9, instrument.mark, 0


def _cents(value: Decimal) -> Decimal:
    return value.quantize(Decimal("0.01"))
