"""The processing of an order: acceptance or rejection, acknowledgement, fill and cancel, with the messages sent."""

import asyncio
from collections.abc import Callable
from decimal import ROUND_FLOOR, Decimal
from typing import TYPE_CHECKING, Any

from tests.support.ibkr_gateway import messages
from tests.support.ibkr_gateway.account_records import COMMISSION_USD, Fill, GatewayOrder, Instrument
from tests.support.ibkr_gateway.faults import Fault, Kind
from tests.support.ibkr_gateway.messages import Message
from tests.support.ibkr_gateway.requests import PlaceOrder, RequestedContract
from tests.support.ibkr_gateway.responses import NO_CONTRACT

if TYPE_CHECKING:
    from tests.support.ibkr_gateway.server import Gateway
    from tests.support.ibkr_gateway.session import Session

BEFORE_ACCEPTANCE = (
    Kind.DROP_BEFORE,
    Kind.LOST,
    Kind.REJECT,
    Kind.REJECT_STATUS_FIRST,
    Kind.ORDER_ERROR,
    Kind.ORDER_ERROR_INACTIVE,
    Kind.USED_ORDER_ID,
)
REJECTED = "Order rejected - reason:YOUR ORDER IS NOT ACCEPTED. IN ORDER TO OBTAIN THE DESIRED POSITION YOUR EQUITY WITH LOAN VALUE MUST EXCEED THE INITIAL MARGIN."


class OrderHandler:
    """Handles the orders of all clients of a gateway."""

    def __init__(self, gateway: "Gateway") -> None:
        self._gateway = gateway
        self._records = gateway.records
        self._script = gateway.script
        self._timers: set[asyncio.TimerHandle] = set()
        self._delayed: list[tuple[Session, GatewayOrder, PlaceOrder]] = []
        self.what_ifs: list[GatewayOrder] = []

    # ---- requests

    def place(self, session: "Session", request: PlaceOrder) -> None:
        """Handle a new order or a what-if order."""
        instrument = self._instrument(request.contract)
        order = GatewayOrder(
            client_id=session.client_id,
            order_id=request.order_id,
            perm_id=0,
            account_id=request.account_id,
            instrument=instrument,  # type: ignore[arg-type]  # an order without an instrument is rejected
            action=request.action,
            total=request.total,
            order_type=request.order_type,
            limit=request.limit,
            tif=request.tif,
            ref=request.ref,
        )
        if request.what_if:
            self._what_if(session, order, instrument)
        elif self._gateway.broker_lost:
            self._delayed.append((session, order, request))
        else:
            self._receive(session, order, request)

    def _receive(self, session: "Session", order: GatewayOrder, request: PlaceOrder) -> None:
        symbol = request.contract.symbol
        fault = self._script.take(*BEFORE_ACCEPTANCE, symbol=symbol, account_id=request.account_id)
        if fault is not None:
            self._fail(session, order, fault)
        elif refusal := self._refusal(order, request):
            session.send(messages.error(order.order_id, *refusal))
        else:
            self._accept(session, order)

    def _fail(self, session: "Session", order: GatewayOrder, fault: Fault) -> None:
        if fault.kind == Kind.DROP_BEFORE:
            session.drop()
        elif fault.kind == Kind.USED_ORDER_ID:
            session.send(messages.error(order.order_id, 103, "Duplicate order id"))
        elif fault.kind in {Kind.ORDER_ERROR, Kind.ORDER_ERROR_INACTIVE}:
            session.send(messages.error(order.order_id, fault.code, fault.message or f"Error {fault.code}."))
            if fault.kind == Kind.ORDER_ERROR_INACTIVE:
                session.send(messages.order_status(order, "Inactive"))
        elif fault.kind != Kind.LOST:
            rejection = [messages.error(order.order_id, 201, fault.message or REJECTED)]
            if order.instrument is not None:
                position = 0 if fault.kind == Kind.REJECT_STATUS_FIRST else 1
                rejection.insert(position, messages.order_status(order, "Inactive"))
            for message in rejection:
                session.send(message)

    def cancel(self, session: "Session", order_id: int) -> None:
        """Handle a request to cancel an order of this client."""
        order = next(
            (
                order
                for order in reversed(self._records.orders)
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
            self.fill(order)
        self._later(self._gateway.cancel_seconds, self._cancelled, session, order)

    def resume(self) -> None:
        """Process the orders that arrived while the broker was lost."""
        delayed, self._delayed = self._delayed, []
        for session, order, request in delayed:
            self._receive(session, order, request)

    def close(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()

    # ---- accepted orders

    def _accept(self, session: "Session", order: GatewayOrder) -> None:
        symbol = order.instrument.symbol

        def scripted(kind: Kind) -> Fault | None:
            return self._script.take(kind, symbol=symbol, account_id=order.account_id)

        if warning := scripted(Kind.WARN_SILENTLY):
            session.send(messages.error(order.order_id, warning.code, f"Warning {warning.code}."))
        order.quiet = bool(scripted(Kind.SILENT))
        order.no_status = bool(scripted(Kind.NO_STATUS))
        order.twice = bool(scripted(Kind.TWICE))
        order.held = bool(scripted(Kind.NO_FILL))
        if partial := scripted(Kind.PARTIAL):
            order.fill_share = Decimal(str(partial.share))
        self._records.accept(order)
        self._gateway.on_accepted(order)
        if scripted(Kind.DROP_AFTER):
            session.drop()
        if warning := scripted(Kind.ORDER_WARNING):
            message = warning.message or f"Warning {warning.code}."
            self.send(order, messages.error(order.order_id, warning.code, message))
        self._send_state(order)
        order.status = "Submitted"
        self._send_state(order)
        self._later(self._gateway.fill_seconds, self.fill, order)

    def fill(self, order: GatewayOrder) -> None:
        """Fill the order if its limit is reached and it is not held."""
        price = order.fill_price()
        if not order.is_open or order.held:
            return
        if price is None:
            if order.tif == "IOC":
                self._end(order, "Cancelled")
            return
        quantity = order.remaining
        if order.fill_share is not None:
            quantity = max(Decimal(1), (order.total * order.fill_share).to_integral_value(ROUND_FLOOR))
            order.held = True
        lagging = self._records.values(order.account_id) if self._gateway.values_lag_seconds else None
        fill = self._records.fill(order, quantity, price)
        if self._script.take(Kind.NO_COMMISSION, symbol=order.instrument.symbol):
            fill.commission = None
        if lagging:
            self._lag(order.account_id, lagging)
        self.send_fill(order, fill)

    def send_fill(self, order: GatewayOrder, fill: Fill) -> None:
        """Send the messages about a fill."""
        execution = messages.execution(-1, order, fill, self._records.time_form(fill.at))
        if self._script.take(Kind.STATUS_BEFORE_EXECUTION, symbol=order.instrument.symbol):
            self._send_state(order)
            self.send(order, execution)
        else:
            self.send(order, execution)
            self._send_state(order)
        account = self._records.accounts[order.account_id]
        con_id = order.instrument.con_id
        cost = account.average_costs.get(con_id, Decimal(0))
        if not account.quiet_positions:
            self._gateway.send_to_all(
                messages.position(order.account_id, order.instrument, account.positions[con_id], cost)
            )
        if fill.commission is not None:
            self.send(order, messages.commission_report(fill))

    def _cancelled(self, session: "Session", order: GatewayOrder) -> None:
        if not order.is_open:
            message = (
                f"OrderId {order.order_id} that needs to be cancelled can not be cancelled, state: {order.status}."
            )
            session.send(messages.error(order.order_id, 10148, message))
            return
        self._end(order, "Cancelled")
        self.send(order, messages.error(order.order_id, 202, "Order Canceled - reason:"))

    def _end(self, order: GatewayOrder, status: str) -> None:
        order.status = status
        self._send_state(order)

    # ---- refusals and what-if orders

    def _refusal(self, order: GatewayOrder, request: PlaceOrder) -> tuple[int, str] | None:
        limit, instrument = order.limit, order.instrument
        checks = (
            (order.account_id not in self._records.accounts, 321, f"Invalid account code '{order.account_id}'."),
            (instrument is None, 200, NO_CONTRACT),
            (order.total % 1, 10243, "Fractional-sized order cannot be placed via API."),
            (order.total == 0, 434, "The order size cannot be zero."),
            (
                instrument and limit is not None and limit % instrument.min_tick,
                110,
                "The price does not conform to the minimum price variation for this contract.",
            ),
            (request.contract.exchange != "SMART", 10311, "This order will be directly routed to ARCA."),
        )
        return next(((code, message) for refused, code, message in checks if refused), None)

    def _what_if(self, session: "Session", order: GatewayOrder, instrument: Instrument | None) -> None:
        self.what_ifs.append(order)
        account = self._records.accounts.get(order.account_id)
        if self._script.take(Kind.MUTE_WHAT_IF, symbol=order.instrument.symbol if instrument else ""):
            return
        refusal = self._script.take(Kind.REJECT_WHAT_IF, symbol=instrument.symbol if instrument else "")
        if instrument is None or account is None:
            session.send(messages.error(order.order_id, 200, NO_CONTRACT))
        elif refusal:
            session.send(messages.error(order.order_id, refusal.code or 201, refusal.message or REJECTED))
        else:
            price = order.limit or instrument.ask
            change = order.total * price / 4
            equity = self._records.values(order.account_id)["NetLiquidation"]
            warning = "" if change <= equity else "The margin of the order is beyond the account's equity."
            margins = (*(account.what_if or (change, change, equity)), COMMISSION_USD, warning)
            session.send(messages.open_order(order, "PreSubmitted", margins))

    # ---- sending

    def _send_state(self, order: GatewayOrder) -> None:
        self.send(order, messages.open_order(order))
        if not order.no_status:
            self.send(order, messages.order_status(order))

    def send(self, order: GatewayOrder, message: Message) -> None:
        """Send a message about an order to the client that placed it."""
        session = self._gateway.sessions.get(order.client_id)
        if session is None or order.quiet or self._gateway.broker_lost:
            return
        for _ in range(2 if order.twice else 1):
            session.send(message)

    def _lag(self, account_id: str, values: dict[str, Decimal]) -> None:
        account = self._records.accounts[account_id]
        account.reported = account.reported or values
        self._later(self._gateway.values_lag_seconds, setattr, account, "reported", None)

    def _instrument(self, requested: RequestedContract) -> Instrument | None:
        if requested.con_id:
            return self._records.instruments.get(requested.con_id)
        return self._records.find_stock(requested.symbol)

    def _later(self, seconds: float, action: Callable[..., object], *arguments: Any) -> None:
        if not seconds:
            action(*arguments)
            return

        def run() -> None:
            self._timers.discard(timer)
            action(*arguments)

        timer = asyncio.get_running_loop().call_later(seconds, run)
        self._timers.add(timer)
