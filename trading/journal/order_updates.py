"""What the broker says of orders, brought into their rows: many at once, all of it or nothing.

Fills never decrease, what is final stays, and nothing is counted twice, in whatever order words come and come again.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from django.db.models.functions import Now

from brokers.broker_types import Execution, OrderResult, OrderStatus
from trading.common.fail_points import FailPoint, reached
from trading.errors import IllegalTransition
from trading.journal.leases import Lease, fenced
from trading.journal.orders import TRANSITIONS, OrderView, view
from trading.journal.runs import note_all
from trading.models import Fill, Order, OrderState, RebalanceRun, TimelineEntry
from trading.models.orders import trade_text

OrderUpdate = OrderResult | Execution

FROM_STATUS = {
    OrderStatus.PENDING: None,
    OrderStatus.WORKING: OrderState.WORKING,
    OrderStatus.FILLED: OrderState.FILLED,
    OrderStatus.CANCELLED: OrderState.CANCELLED,
    OrderStatus.REJECTED: OrderState.REJECTED,
    OrderStatus.EXPIRED: OrderState.EXPIRED,
}
"""What a broker's status makes of an order; statuses that prove nothing are left out."""
BAD_ENDS = frozenset(
    {OrderState.REJECTED, OrderState.UNKNOWN, OrderState.LOST, OrderState.CANCELLED, OrderState.EXPIRED}
)
"""States that the run's story tells of."""


def changes_order(order: OrderView, word: OrderUpdate) -> bool:
    """Whether a word can change the row at all: brokers repeat themselves, and each write costs."""
    if isinstance(word, Execution):
        return True
    return (
        FROM_STATUS.get(word.status) not in {None, order.state}
        or abs(word.filled_quantity) > abs(order.filled_quantity)
        or word.order_id not in {"", order.broker_order_id}
        or word.message not in {"", order.message}
    )


def apply_updates(lease: Lease, words: Mapping[int, Sequence[OrderUpdate]]) -> dict[int, OrderView]:
    """Brings the rows, by their keys, to what the broker says of the orders, fenced.

    Returns:
        The orders as they are now, by the same keys.
    """
    with fenced(lease):
        pages = _read(words)
        for pk, said in words.items():
            for word in said:
                pages[pk].hear(word)
        _write(pages.values())
        if any(isinstance(word, OrderResult) for said in words.values() for word in said):
            reached(FailPoint.RESULT_WRITTEN)
        if any(page.new_fills for page in pages.values()):
            reached(FailPoint.FILL_WRITTEN)
    return {pk: page.view() for pk, page in pages.items()}


def mark_order(lease: Lease, order_pk: int, target: OrderState, message: str) -> OrderView:
    """Moves an order to a state that the engine itself has found, with the reason."""
    with fenced(lease):
        pages = _read([order_pk])
        pages[order_pk].settle(target, message)
        _write(pages.values())
        reached(FailPoint.FINDING_WRITTEN)
    return pages[order_pk].view()


class _Page:
    """One order's row and its fills, as they are being brought up to date."""

    def __init__(self, row: Order, fills: Iterable[Fill]) -> None:
        self.row = row
        self.state_before = row.state
        self.fills = {fill.execution_id: fill for fill in fills}
        self.changes: dict[str, Any] = {}
        self.new_fills: list[Fill] = []
        self.corrected_fills: list[Fill] = []
        self.notes: list[TimelineEntry] = []

    def view(self) -> OrderView:
        return view(self.row, self.fills.values())

    def hear(self, word: OrderUpdate) -> None:
        if isinstance(word, Execution):
            self._on_execution(word)
        else:
            self._on_result(word)

    def settle(self, target: OrderState | None, message: str = "") -> None:
        """Moves the row to the target, if there is one and it is not there yet and may go there."""
        row = self.row
        if target is None or row.state == target or row.state not in TRANSITIONS[target]:
            return
        self._change(state=target)
        if message:
            self._change(message=message)
        if target not in OrderState.open_states():
            self._change(finished_at=Now())
        if target in BAD_ENDS:
            words = f": {row.message}" if row.message else "."
            self._note(f"order_{target}", f"{row} is {target}{words}", "warning")

    def _on_result(self, result: OrderResult) -> None:
        row = self.row
        for name, said in (
            ("broker_order_id", result.order_id),
            ("permanent_id", result.permanent_id),
            ("message", result.message),
        ):
            if said not in {"", getattr(row, name)}:
                self._change(**{name: said})
        if row.acknowledged_at is None and result.status is not OrderStatus.PENDING:
            self._change(acknowledged_at=Now())
        if abs(result.filled_quantity) > abs(row.filled_quantity):
            self._change(
                filled_quantity=result.filled_quantity,
                average_price_usd=result.average_price or row.average_price_usd,
            )
        is_filled = abs(result.filled_quantity) >= abs(row.quantity)
        self.settle(OrderState.FILLED if is_filled else FROM_STATUS.get(result.status))

    def _on_execution(self, execution: Execution) -> None:
        """Adds one fill, once; a commission that comes later completes it, a correction of the broker replaces it."""
        row, fill = self.row, self.fills.get(execution.execution_id)
        corrects = fill is not None and _corrects(execution, fill)
        if fill is None:
            self._add(execution)
        elif corrects or fill.commission_usd is None:
            fill.quantity, fill.price_usd = execution.quantity, execution.price_usd
            fill.commission_usd = fill.commission_usd if execution.commission_usd is None else execution.commission_usd
            if fill not in self.new_fills:
                self.corrected_fills.append(fill)
        if corrects:
            self._note("fill_corrected", f"The broker has corrected a fill of {row.symbol}.", "warning")
        fills = self.fills.values()
        filled = sum((one.quantity for one in fills), Decimal(0))
        commission = sum((one.commission_usd or Decimal(0) for one in fills), Decimal(0))
        if commission != row.commission_usd:
            self._change(commission_usd=commission)
        if filled and (corrects or abs(filled) >= abs(row.filled_quantity)):
            value = sum((one.quantity * one.price_usd for one in fills), Decimal(0))
            self._change(filled_quantity=filled, average_price_usd=value / filled)
        self.settle(OrderState.FILLED if abs(filled) >= abs(row.quantity) else None)

    def _add(self, execution: Execution) -> None:
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
        traded = trade_text(execution.quantity, self.row.symbol)
        self._note("filled", f"{traded} filled at {execution.price_usd.normalize():f}.")

    def _change(self, **changes: Any) -> None:
        self.changes |= changes
        for name, value in changes.items():
            setattr(self.row, name, value)

    def _note(self, code: str, message: str, level: str = "info") -> None:
        self.notes.append(TimelineEntry(run_id=self.row.run_id, code=code, message=message, level=level))


def _corrects(execution: Execution, fill: Fill) -> bool:
    """Whether the broker says something else of the fill than before; a commission that was missing is none of that."""
    paid = {fill.commission_usd, execution.commission_usd} - {None}
    return len(paid) > 1 or (fill.quantity, fill.price_usd) != (execution.quantity, execution.price_usd)


def _read(pks: Iterable[int]) -> dict[int, _Page]:
    # Locked, so that what is decided from them holds until the commit.
    rows = list(Order.objects.select_for_update().filter(pk__in=list(pks)).order_by("pk"))
    fills: dict[int, list[Fill]] = defaultdict(list)
    # The first fill of an order moves its shares: where none are filled there is nothing to read.
    if filled := [row.pk for row in rows if row.filled_quantity]:
        for fill in Fill.objects.filter(order_id__in=filled):
            fills[fill.order_id].append(fill)
    return {row.pk: _Page(row, fills[row.pk]) for row in rows}


def _write(pages: Iterable[_Page]) -> None:
    """Everything that has changed: each row by one guarded statement, fills and the story in bulk."""
    fills: list[Fill] = []
    notes: list[TimelineEntry] = []
    progressed: set[int] = set()
    for page in pages:
        row = Order.objects.filter(pk=page.row.pk, state=page.state_before)
        if page.changes and not row.update(**page.changes):
            raise IllegalTransition(f"Order {page.row.pk}", page.row.state)
        fills += [*page.new_fills, *page.corrected_fills]
        notes += page.notes
        if page.new_fills:
            progressed.add(page.row.run_id)
    if fills:
        Fill.objects.bulk_create(
            fills,
            update_conflicts=True,
            unique_fields=("order", "execution_id"),
            update_fields=("quantity", "price_usd", "commission_usd"),
        )
    if progressed:
        # Fills are finite, so that a run that is taken up again and again comes to an end; orders are not.
        RebalanceRun.objects.filter(pk__in=progressed, idle_attempts__gt=0).update(idle_attempts=0)
    note_all(notes)
