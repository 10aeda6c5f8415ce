"""What happens to an order: taken or refused, acknowledged, filled, cancelled, and who is told."""

import asyncio
from decimal import ROUND_FLOOR, Decimal

from tests.support.ibkr_gateway import messages
from tests.support.ibkr_gateway.book import COMMISSION_USD, BookedOrder
from tests.support.ibkr_gateway.faults import Kind

BEFORE_TAKING = (Kind.DROP_BEFORE, Kind.LOST, Kind.REJECT, Kind.REJECT_STATUS_FIRST, Kind.ORDER_ERROR)
REFUSED = "Order rejected - reason:YOUR ORDER IS NOT ACCEPTED. IN ORDER TO OBTAIN THE DESIRED POSITION YOUR EQUITY WITH LOAN VALUE MUST EXCEED THE INITIAL MARGIN."


class Desk:
    """The part of the gateway that deals with orders."""

    def __init__(self, gateway):
        self._gateway = gateway
        self._book = gateway.book
        self._script = gateway.script
        self._timers = set()
        self._held = []
        self.what_ifs = []

    # ---- requests

    def place(self, session, asked):
        """A new order, or a what-if."""
        instrument = self._instrument(asked.contract)
        order = BookedOrder(
            client_id=session.client_id,
            order_id=asked.order_id,
            perm_id=0,
            account_id=asked.account_id,
            instrument=instrument,
            action=asked.action,
            total=asked.total,
            order_type=asked.order_type,
            limit=asked.limit,
            tif=asked.tif,
            ref=asked.ref,
        )
        if asked.what_if:
            self._what_if(session, order)
        elif self._gateway.cut_off:
            self._held.append((session, order, asked))
        else:
            self._receive(session, order, asked)

    def _receive(self, session, order, asked):
        symbol = asked.contract.symbol
        fault = self._script.take(*BEFORE_TAKING, symbol=symbol, account_id=asked.account_id)
        kind = fault.kind if fault else None
        if kind == Kind.DROP_BEFORE:
            session.drop()
        elif kind == Kind.LOST:
            return
        elif kind in {Kind.REJECT, Kind.REJECT_STATUS_FIRST}:
            self._reject(session, order, 201, fault.words or REFUSED, status_first=kind == Kind.REJECT_STATUS_FIRST)
        elif kind == Kind.ORDER_ERROR:
            session.send(messages.error(order.order_id, fault.code, fault.words or f"Error {fault.code}."))
        elif refusal := self._refusal(order, asked):
            session.send(messages.error(order.order_id, *refusal))
        else:
            self._take(session, order)

    def cancel(self, session, order_id):
        """A request to cancel an order of this client."""
        order = next(
            (
                order
                for order in reversed(self._book.orders)
                if (order.client_id, order.order_id) == (session.client_id, order_id)
            ),
            None,
        )
        if order is None:
            session.send(
                messages.error(order_id, 10147, f"OrderId {order_id} that needs to be cancelled is not found.")
            )
            return
        if self._script.take(Kind.CANCEL_IGNORED, symbol=order.instrument.symbol):
            return
        if self._script.take(Kind.FILL_DURING_CANCEL, symbol=order.instrument.symbol):
            order.held = False
            self._fill(order)
        self._later(self._gateway.cancel_seconds, self._cancelled, session, order)

    def resume(self):
        """Takes what came while the broker was out of reach."""
        held, self._held = self._held, []
        for session, order, asked in held:
            self._receive(session, order, asked)

    def close(self):
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()

    # ---- the life of an order

    def _take(self, session, order):
        symbol = order.instrument.symbol

        def scripted(kind):
            return self._script.take(kind, symbol=symbol, account_id=order.account_id)

        order.quiet = bool(scripted(Kind.SILENT))
        order.no_status = bool(scripted(Kind.NO_STATUS))
        order.twice = bool(scripted(Kind.TWICE))
        order.held = bool(scripted(Kind.NO_FILL))
        if partial := scripted(Kind.PARTIAL):
            order.fill_share = Decimal(str(partial.share))
        self._book.take(order)
        self._gateway.taken(order)
        if scripted(Kind.DROP_AFTER):
            session.drop()
        if warning := scripted(Kind.ORDER_WARNING):
            self._tell(order, messages.error(order.order_id, warning.code, warning.words or f"Warning {warning.code}."))
        self._tell_state(order)
        order.status = "Submitted"
        self._tell_state(order)
        self._later(self._gateway.fill_seconds, self._fill, order)

    def _fill(self, order):
        price = order.fill_price()
        if not order.is_live or order.held:
            return
        if price is None:
            if order.tif == "IOC":
                self._end(order, "Cancelled")
            return
        quantity = order.remaining
        if order.fill_share is not None:
            quantity = max(Decimal(1), (order.total * order.fill_share).to_integral_value(ROUND_FLOOR))
            order.held = True
        lagging = self._gateway.values_lag_seconds and self._book.values(order.account_id)
        fill = self._book.fill(order, quantity, price)
        if self._script.take(Kind.NO_COMMISSION, symbol=order.instrument.symbol):
            fill.commission = None
        if lagging:
            self._lag(order.account_id, lagging)
        self._tell_fill(order, fill)

    def _tell_fill(self, order, fill):
        told = messages.execution(-1, order, fill)
        if self._script.take(Kind.STATUS_BEFORE_EXECUTION, symbol=order.instrument.symbol):
            self._tell_state(order)
            self._tell(order, told)
        else:
            self._tell(order, told)
            self._tell_state(order)
        account = self._book.accounts[order.account_id]
        quantity = account.positions[order.instrument.con_id]
        self._gateway.tell_all(
            messages.position(
                order.account_id, order.instrument, quantity, account.average_costs.get(order.instrument.con_id, 0)
            )
        )
        if fill.commission is not None:
            self._tell(order, messages.commission_report(fill))

    def _cancelled(self, session, order):
        if not order.is_live:
            words = f"OrderId {order.order_id} that needs to be cancelled can not be cancelled, state: {order.status}."
            session.send(messages.error(order.order_id, 10148, words))
            return
        self._end(order, "Cancelled")
        self._tell(order, messages.error(order.order_id, 202, "Order Canceled - reason:"))

    def _end(self, order, status):
        order.status = status
        self._tell_state(order)

    # ---- refusals

    def _refusal(self, order, asked):
        limit, instrument = order.limit, order.instrument
        checks = (
            (order.account_id not in self._book.accounts, 321, f"Invalid account code '{order.account_id}'."),
            (instrument is None, 200, "No security definition has been found for the request"),
            (order.total % 1, 10243, "Fractional-sized order cannot be placed via API."),
            (order.total == 0, 434, "The order size cannot be zero."),
            (
                instrument and limit is not None and limit % instrument.min_tick,
                110,
                "The price does not conform to the minimum price variation for this contract.",
            ),
            (asked.contract.exchange != "SMART", 10311, "This order will be directly routed to ARCA."),
        )
        return next(((code, words) for refused, code, words in checks if refused), None)

    def _reject(self, session, order, code, words, *, status_first):
        told = [messages.error(order.order_id, code, words)]
        if order.instrument is not None:
            told.insert(0 if status_first else 1, messages.order_status(order, "Inactive"))
        for message in told:
            session.send(message)

    def _what_if(self, session, order):
        self.what_ifs.append(order)
        account = self._book.accounts.get(order.account_id)
        asked_symbol = order.instrument.symbol if order.instrument else ""
        refusal = self._script.take(Kind.REJECT_WHAT_IF, symbol=asked_symbol)
        if order.instrument is None or account is None:
            session.send(messages.error(order.order_id, 200, "No security definition has been found for the request"))
        elif refusal:
            session.send(messages.error(order.order_id, 201, refusal.words or REFUSED))
        else:
            price = order.limit or order.instrument.ask
            change = order.total * price / 4
            equity = self._book.values(order.account_id)["NetLiquidation"]
            warning = "" if change <= equity else "The margin of the order is beyond the account's equity."
            session.send(messages.open_order(order, "PreSubmitted", (change, change, equity, COMMISSION_USD, warning)))

    # ---- who is told

    def _tell_state(self, order):
        self._tell(order, messages.open_order(order))
        if not order.no_status:
            self._tell(order, messages.order_status(order))

    def _tell(self, order, message):
        session = self._gateway.sessions.get(order.client_id)
        if session is None or order.quiet or self._gateway.cut_off:
            return
        for _ in range(2 if order.twice else 1):
            session.send(message)

    def _lag(self, account_id, values):
        account = self._book.accounts[account_id]
        account.reported = account.reported or values
        self._later(self._gateway.values_lag_seconds, setattr, account, "reported", None)

    def _instrument(self, asked):
        if asked.con_id:
            return self._book.instruments.get(asked.con_id)
        return self._book.stock(asked.symbol)

    def _later(self, seconds, action, *arguments):
        if not seconds:
            action(*arguments)
            return

        def run():
            self._timers.discard(timer)
            action(*arguments)

        timer = asyncio.get_running_loop().call_later(seconds, run)
        self._timers.add(timer)
