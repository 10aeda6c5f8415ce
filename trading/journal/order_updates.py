"""Apply the broker's updates of orders to their rows: many orders in one transaction, all updates or none.

Fills never decrease, final states stay, and nothing is counted twice, in whatever order and however often the broker
sends its updates.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from django.db.models.functions import Now

from brokers.broker_types import Execution, OrderResult, OrderStatus, OrderUpdate
from calculator.formats import price
from trading.common.fail_points import FailPoint, reached
from trading.errors import IllegalTransition
from trading.journal.leases import Lease, fenced_transaction
from trading.journal.orders import TRANSITIONS, OrderView, view
from trading.journal.outcomes import rewrite_outcomes
from trading.journal.runs import write_entries
from trading.models import Fill, Order, OrderState, RebalanceRun, TimelineEntry
from trading.models.orders import ABSENT, reduce, trade_text

STATE_OF_STATUS = {
    OrderStatus.PENDING: None,
    OrderStatus.WORKING: OrderState.WORKING,
    OrderStatus.FILLED: OrderState.FILLED,
    OrderStatus.CANCELLED: OrderState.CANCELLED,
    OrderStatus.REJECTED: OrderState.REJECTED,
    OrderStatus.EXPIRED: OrderState.EXPIRED,
}
"""State of an order by the broker's status; a status that proves nothing is missing, or has no state."""
FINAL_STATES = frozenset(OrderState) - {OrderState.PLANNED, *OrderState.open_states()}
COMMISSION_STEP = Decimal("0.00000001")
"""Step of stored commissions, in USD."""
STATES_ON_TIMELINE = frozenset(
    {OrderState.REJECTED, OrderState.UNKNOWN, OrderState.LOST, OrderState.CANCELLED, OrderState.EXPIRED}
)
"""States that add a warning to the run's timeline."""


def changes_order(order: OrderView, update: OrderUpdate) -> bool:
    """Return whether an update can change the row: brokers repeat updates, and each write costs a commit."""
    if isinstance(update, Execution):
        return True
    return (
        STATE_OF_STATUS.get(update.status) not in {None, order.state}
        or abs(update.filled_quantity) > abs(order.filled_quantity)
        or update.order_id not in {"", order.broker_order_id}
        or update.message not in {"", order.message}
    )


def apply_updates(lease: Lease, updates: Mapping[int, Sequence[OrderUpdate]]) -> dict[int, OrderView]:
    """Apply the broker's updates to the orders; return the updated orders. Both by primary key; fenced."""
    with fenced_transaction(lease):
        orders = _read(updates)
        for pk, of_order in updates.items():
            for update in of_order:
                orders[pk].apply(update)
        _write(orders.values())
        if any(isinstance(update, OrderResult) for of_order in updates.values() for update in of_order):
            reached(FailPoint.RESULT_WRITTEN)
        if any(order.new_fills for order in orders.values()):
            reached(FailPoint.FILL_WRITTEN)
    return {pk: order.view() for pk, order in orders.items()}


def mark_order(lease: Lease, order_pk: int, target: OrderState, message: str) -> OrderView:
    """Move an order to a state that the engine itself has determined, with the reason; fenced."""
    with fenced_transaction(lease):
        orders = _read([order_pk])
        orders[order_pk].move(target, message)
        _write(orders.values())
        reached(FailPoint.FINDING_WRITTEN)
    return orders[order_pk].view()


class _OrderRow:
    """One order's row and its fills, with the changes that are not written yet."""

    def __init__(self, row: Order, fills: Iterable[Fill]) -> None:
        self.row = row
        self.state_before = row.state
        self.was_missing = row.is_missing
        self.fills = {fill.execution_id: fill for fill in fills}
        self.changes: dict[str, Any] = {}
        self.new_fills: list[Fill] = []
        self.corrected_fills: dict[str, Fill] = {}
        self.replaced_fills: list[Fill] = []
        self.timeline: list[TimelineEntry] = []

    def view(self) -> OrderView:
        return view(self.row, self.fills.values())

    def apply(self, update: OrderUpdate) -> None:
        if isinstance(update, Execution):
            self._apply_execution(update)
        else:
            self._apply_result(update)

    def move(self, target: OrderState | None, message: str = "") -> None:
        """Move the row to the target state, if there is one and the transition is allowed."""
        row = self.row
        if row.state == target and message not in {"", row.message}:
            self._change(message=message)  # the finding of a later lookup
        if target is None or row.state == target or row.state not in TRANSITIONS[target]:
            return
        if row.state == OrderState.REJECTED and target != OrderState.FILLED and not self.was_missing:
            return
        self._change(state=target)
        if message:
            self._change(message=message)
        elif row.message.startswith(ABSENT):
            self._change(message=row.message.removeprefix(ABSENT))
        self._change(finished_at=None if target in OrderState.open_states() else Now())
        if target in STATES_ON_TIMELINE:
            self._add_entry(f"order_{target}", f"{row}: order status {target}. {row.message}".rstrip(), "warning")

    def _apply_result(self, result: OrderResult) -> None:
        row = self.row
        for name, value in (
            ("broker_order_id", result.order_id),
            ("permanent_id", result.permanent_id),
            ("message", result.message),
        ):
            if name == "message" and self.was_missing and STATE_OF_STATUS.get(result.status) is None:
                continue  # it still counts as missing, by its message
            if value not in {"", getattr(row, name)}:
                self._change(**{name: value})
        if row.acknowledged_at is None and result.status is not OrderStatus.PENDING:
            self._change(acknowledged_at=Now())
        if abs(result.filled_quantity) > abs(row.filled_quantity):
            self._change(
                filled_quantity=result.filled_quantity, average_price_usd=result.average_price or row.average_price_usd
            )
        is_filled = abs(result.filled_quantity) >= abs(row.quantity)
        self.move(OrderState.FILLED if is_filled else STATE_OF_STATUS.get(result.status))

    def _apply_execution(self, execution: Execution) -> None:
        """Add a fill once; a commission that arrives later completes it, a correction of the broker replaces it."""
        row, fill = self.row, self.fills.get(execution.execution_id)
        is_correction = fill is not None and _is_correction(execution, fill)
        self._replace_manual_fill(execution, abs(execution.quantity) - (abs(fill.quantity) if fill else 0))
        if fill is None:
            self._add_fill(execution)
        elif is_correction or fill.commission_usd is None:
            fill.quantity, fill.price_usd = execution.quantity, execution.price_usd
            fill.commission_usd = fill.commission_usd if execution.commission_usd is None else execution.commission_usd
            if fill not in self.new_fills:
                self.corrected_fills[fill.execution_id] = fill
        if is_correction:
            self._add_entry("fill_corrected", f"The broker corrected a fill of {row.symbol}.", "warning")
        fills = self.fills.values()
        filled = sum((one.quantity for one in fills), Decimal(0))
        commission = sum((one.commission_usd or Decimal(0) for one in fills), Decimal(0))
        if commission != row.commission_usd:
            self._change(commission_usd=commission)
        if filled and (is_correction or abs(filled) >= abs(row.filled_quantity)):
            value = sum((one.quantity * one.price_usd for one in fills), Decimal(0))
            self._change(filled_quantity=filled, average_price_usd=value / filled)
        self.move(OrderState.FILLED if abs(filled) >= abs(row.quantity) else None)

    def _replace_manual_fill(self, execution: Execution, shares: Decimal) -> None:
        """Take shares that the broker reports out of a fill that a user entered for them: they must count once."""
        manual = next((fill for fill in self.fills.values() if fill.is_manual), None)
        if manual is None or manual.execution_id == execution.execution_id or shares <= 0:
            return
        entered, left = manual.quantity, reduce(manual.quantity, shares)
        reported = f"{trade_text(execution.quantity, self.row.symbol)} at {price(execution.price_usd)}"
        replaced = f"{trade_text(entered, self.row.symbol)} at {price(manual.price_usd)}"
        message = f"The broker reported {reported}. It replaces shares of the fill entered manually: {replaced}."
        self._add_entry("fill_replaced", message, "warning")
        manual.quantity = left
        if manual.commission_usd is not None:
            manual.commission_usd = (manual.commission_usd * left / entered).quantize(COMMISSION_STEP)
        if left:
            self.corrected_fills[manual.execution_id] = manual
        else:
            self.replaced_fills.append(self.fills.pop(manual.execution_id))
            self.corrected_fills.pop(manual.execution_id, None)

    def _add_fill(self, execution: Execution) -> None:
        fill = Fill(
            order=self.row,
            execution_id=execution.execution_id,
            quantity=execution.quantity,
            price_usd=execution.price_usd,
            commission_usd=execution.commission_usd,
            executed_at=execution.executed_at,
        )
        self.fills[execution.execution_id] = fill
        self.new_fills.append(fill)
        trade = trade_text(execution.quantity, self.row.symbol)
        self._add_entry("filled", f"{trade} filled at {price(execution.price_usd)}.")

    def _change(self, **changes: Any) -> None:
        self.changes |= changes
        for name, value in changes.items():
            setattr(self.row, name, value)

    def _add_entry(self, code: str, message: str, level: str = "info") -> None:
        self.timeline.append(TimelineEntry(run_id=self.row.run_id, code=code, message=message, level=level))


def _is_correction(execution: Execution, fill: Fill) -> bool:
    """Return whether the broker changed a fill that it reported before; a commission that was missing is no change."""
    commissions = {fill.commission_usd, execution.commission_usd} - {None}
    return len(commissions) > 1 or (fill.quantity, fill.price_usd) != (execution.quantity, execution.price_usd)


def _read(pks: Iterable[int]) -> dict[int, _OrderRow]:
    # Locked, so that decisions based on the rows hold until the commit.
    rows = list(Order.objects.select_for_update().filter(pk__in=list(pks)).order_by("pk"))
    fills: dict[int, list[Fill]] = defaultdict(list)
    # The first fill of an order changes its filled quantity: an order with none has no fills to read.
    if filled := [row.pk for row in rows if row.filled_quantity]:
        for fill in Fill.objects.filter(order_id__in=filled):
            fills[fill.order_id].append(fill)
    return {row.pk: _OrderRow(row, fills[row.pk]) for row in rows}


def _write(orders: Collection[_OrderRow]) -> None:
    """Write all changes: each row by one guarded UPDATE, fills and timeline entries in bulk."""
    fills: list[Fill] = []
    timeline: list[TimelineEntry] = []
    replaced: list[int] = []
    progressed: set[int] = set()
    for order in orders:
        row = Order.objects.filter(pk=order.row.pk, state=order.state_before)
        if order.changes and not row.update(**order.changes):
            raise IllegalTransition(f"Order {order.row.pk}", order.row.state)
        fills += [*order.new_fills, *order.corrected_fills.values()]
        replaced += [fill.pk for fill in order.replaced_fills]
        timeline += order.timeline
        if order.new_fills:
            progressed.add(order.row.run_id)
    if fills:
        Fill.objects.bulk_create(
            fills,
            update_conflicts=True,
            unique_fields=("order", "execution_id"),
            update_fields=("quantity", "price_usd", "commission_usd"),
        )
    if replaced:
        Fill.objects.filter(pk__in=replaced).delete()
    if progressed:
        # Only fills count as progress: their number is finite, so a run cannot be resumed for ever. Orders are not.
        RebalanceRun.objects.filter(pk__in=progressed, idle_attempts__gt=0).update(idle_attempts=0)
    write_entries(timeline)
    # Of a run that has ended, what is found out about an order later changes the outcome.
    if resolved := {order.row.run_id for order in orders if order.changes and order.row.state in FINAL_STATES}:
        rewrite_outcomes(resolved)
