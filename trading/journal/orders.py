"""Orders and fills. A row is committed before its order is sent; it follows the broker's proof, never hope."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from django.db import transaction
from django.db.models.functions import Now

from brokers.values import Execution, OrderResult, OrderStatus, OrderType, TimeInForce
from trading.errors import IllegalTransition
from trading.fail_points import FailPoint, reached
from trading.journal.leases import Lease, fence
from trading.journal.runs import note
from trading.models import ExecutedSession, Fill, Order, OrderState, RebalanceRun

TRANSITIONS: dict[OrderState, frozenset[OrderState]] = {
    OrderState.SUBMITTING: frozenset({OrderState.PLANNED}),
    OrderState.WORKING: frozenset({OrderState.SUBMITTING, OrderState.UNKNOWN}),
    OrderState.FILLED: frozenset({*OrderState.unsettled(), OrderState.CANCELLED, OrderState.EXPIRED}),
    OrderState.CANCELLED: frozenset({OrderState.PLANNED, *OrderState.unsettled()}),
    OrderState.REJECTED: frozenset(OrderState.unsettled()),
    OrderState.EXPIRED: frozenset(OrderState.unsettled()),
    OrderState.UNKNOWN: frozenset({OrderState.SUBMITTING, OrderState.WORKING}),
    OrderState.LOST: frozenset({OrderState.SUBMITTING, OrderState.UNKNOWN}),
}
"""From which states each state can be reached. A late fill may still complete a cancelled order."""

FROM_STATUS = {
    OrderStatus.PENDING: None,
    OrderStatus.WORKING: OrderState.WORKING,
    OrderStatus.FILLED: OrderState.FILLED,
    OrderStatus.CANCELLED: OrderState.CANCELLED,
    OrderStatus.REJECTED: OrderState.REJECTED,
    OrderStatus.EXPIRED: OrderState.EXPIRED,
}
"""What a broker's status makes of an order; statuses that prove nothing are left out."""


@dataclass(frozen=True)
class OrderView:
    """An order as the engine sees it; quantities are signed."""

    pk: int
    client_order_id: str
    broker_order_id: str
    symbol: str
    quantity: Decimal
    order_type: OrderType
    limit_price: Decimal | None
    time_in_force: TimeInForce
    state: OrderState
    filled_quantity: Decimal
    average_price: Decimal | None
    commission: Decimal
    position_before: Decimal
    submitted_at: datetime | None
    message: str
    fills_complete: bool

    @property
    def is_settled(self) -> bool:
        """Whether nothing more can happen to it at the broker."""
        return self.state not in OrderState.unsettled() and self.state != OrderState.PLANNED

    @property
    def remaining(self) -> Decimal:
        """Signed shares that are not filled."""
        return self.quantity - self.filled_quantity


@dataclass(frozen=True)
class PlannedOrder:
    """A trade of the plan that is about to become an order."""

    symbol: str
    quantity: Decimal
    order_type: OrderType
    limit_price: Decimal | None
    decision_price: Decimal | None
    time_in_force: TimeInForce
    reason: str


def view(order: Order) -> OrderView:
    """The order as the engine sees it."""
    return OrderView(
        pk=order.pk,
        client_order_id=order.client_order_id,
        broker_order_id=order.broker_order_id,
        symbol=order.symbol,
        quantity=order.quantity,
        order_type=OrderType(order.order_type),
        limit_price=order.limit_price_usd,
        time_in_force=TimeInForce(order.time_in_force),
        state=OrderState(order.state),
        filled_quantity=order.filled_quantity,
        average_price=order.average_price_usd,
        commission=order.commission_usd,
        position_before=order.position_before,
        submitted_at=order.submitted_at,
        message=order.message,
        fills_complete=_fills_complete(order),
    )


def _fills_complete(order: Order) -> bool:
    """Whether every filled share is backed by an execution with its commission."""
    if not order.filled_quantity:
        return True
    fills = list(order.fills.values_list("quantity", "commission_usd"))
    booked = sum((quantity for quantity, _ in fills), Decimal(0))
    return booked == order.filled_quantity and all(commission is not None for _, commission in fills)


def orders_of(run_pk: int) -> list[OrderView]:
    """The run's orders, oldest first."""
    return [view(order) for order in Order.objects.filter(run_id=run_pk).order_by("sequence")]


def left_behind(account_pk: int, but_run: int) -> list[OrderView]:
    """Orders of the account's other runs that may be alive at the broker, oldest first."""
    unsettled = Order.objects.filter(account_id=account_pk, state__in=OrderState.unsettled())
    return [view(order) for order in unsettled.exclude(run_id=but_run).order_by("id")]


def age_seconds(order_pk: int) -> float:
    """How long ago the order was sent, by the database's clock; 0 when it was not."""
    sent, now = Order.objects.annotate(now=Now()).values_list("submitted_at", "now").get(pk=order_pk)
    return (now - sent).total_seconds() if sent else 0.0


def plan_orders(lease: Lease, run_pk: int, planned: Sequence[PlannedOrder]) -> list[OrderView]:
    """Writes the orders of a phase, each under its client order id, before any of them is sent."""
    with transaction.atomic():
        fence(lease)
        run = RebalanceRun.objects.only("run_id", "account_id").get(pk=run_pk)
        first = Order.objects.filter(run=run).count() + 1
        return [
            view(
                Order.objects.create(
                    run=run,
                    account_id=run.account_id,
                    sequence=sequence,
                    client_order_id=f"rb-{run.run_id}-{sequence}",
                    symbol=item.symbol,
                    quantity=item.quantity,
                    order_type=item.order_type,
                    limit_price_usd=item.limit_price,
                    decision_price_usd=item.decision_price,
                    time_in_force=item.time_in_force,
                    reason=item.reason,
                )
            )
            for sequence, item in enumerate(planned, start=first)
        ]


def mark_submitting(lease: Lease, order: OrderView, position_before: Decimal, session_date: date) -> OrderView:
    """The last thing before an order is sent; the first of a run in a session writes the trade guard's history."""
    with transaction.atomic():
        fence(lease)
        row = _move(order.pk, OrderState.SUBMITTING, submitted_at=Now(), position_before=position_before)
        ExecutedSession.objects.get_or_create(
            run_id=row.run_id,
            session_date=session_date,
            defaults={"account_id": row.account_id, "first_order_at": Now()},
        )
        note(row.run_id, "order_sent", f"{row} sent{_at_limit(row)}.")
        reached(FailPoint.SUBMITTING_WRITTEN)
    reached(FailPoint.SUBMITTING_COMMITTED)
    return view(row)


def apply_words(lease: Lease, order_pk: int, words: Sequence[OrderResult | Execution]) -> OrderView:
    """Brings the row to what the broker says of the order. Fills never decrease; what is final stays."""
    with transaction.atomic():
        fence(lease)
        row = Order.objects.select_for_update().get(pk=order_pk)
        for word in words:
            row = _apply_execution(row, word) if isinstance(word, Execution) else _apply_result(row, word)
    return view(row)


def says_something(order: OrderView, word: OrderResult | Execution) -> bool:
    """Whether a word can change the row at all: brokers repeat themselves, and each write costs."""
    if isinstance(word, Execution):
        return True
    return (
        FROM_STATUS.get(word.status) not in {None, order.state}
        or abs(word.filled_quantity) > abs(order.filled_quantity)
        or word.order_id not in {"", order.broker_order_id}
        or word.message not in {"", order.message}
    )


def _apply_result(row: Order, result: OrderResult) -> Order:
    changes: dict[str, Any] = {}
    if result.order_id not in {"", row.broker_order_id}:
        changes["broker_order_id"] = result.order_id
    if result.permanent_id not in {"", row.permanent_id}:
        changes["permanent_id"] = result.permanent_id
    if result.message not in {"", row.message}:
        changes["message"] = result.message
    if row.acknowledged_at is None and result.status is not OrderStatus.PENDING:
        changes["acknowledged_at"] = Now()
    if abs(result.filled_quantity) > abs(row.filled_quantity):
        changes["filled_quantity"] = result.filled_quantity
        changes["average_price_usd"] = result.average_price or row.average_price_usd
    _change(row, changes)
    target = FROM_STATUS.get(result.status)
    if abs(result.filled_quantity) >= abs(row.quantity):
        target = OrderState.FILLED
    row = _settle(row, target)
    reached(FailPoint.RESULT_WRITTEN)
    return row


def _apply_execution(row: Order, execution: Execution) -> Order:
    """Adds one fill, once; a commission that comes later completes it, a correction of the broker takes its place."""
    fills = {fill.execution_id: fill for fill in Fill.objects.filter(order=row)}
    fill = fills.get(execution.execution_id)
    corrected = fill is not None and _corrects(execution, fill)
    if fill is None:
        fills[execution.execution_id] = Fill.objects.create(
            order=row,
            execution_id=execution.execution_id,
            quantity=execution.quantity,
            price_usd=execution.price_usd,
            commission_usd=execution.commission_usd,
            executed_at=execution.executed_at,
        )
    elif corrected or fill.commission_usd is None:
        fill.quantity, fill.price_usd = execution.quantity, execution.price_usd
        fill.commission_usd = fill.commission_usd if execution.commission_usd is None else execution.commission_usd
        fill.save(update_fields=["quantity", "price_usd", "commission_usd"])
    if corrected:
        note(row.run_id, "fill_corrected", f"The broker has corrected a fill of {row.symbol}.", "warning")
    filled = sum((one.quantity for one in fills.values()), Decimal(0))
    changes: dict[str, Any] = {
        "commission_usd": sum((one.commission_usd or Decimal(0) for one in fills.values()), Decimal(0))
    }
    if filled and (corrected or abs(filled) >= abs(row.filled_quantity)):
        changes["filled_quantity"] = filled
        changes["average_price_usd"] = sum((f.quantity * f.price_usd for f in fills.values()), Decimal(0)) / filled
    _change(row, changes)
    if fill is None:
        # Fills are finite, so that a run that is taken up again and again comes to an end; orders are not.
        RebalanceRun.objects.filter(pk=row.run_id).update(idle_attempts=0)
        verb = "SELL" if execution.quantity < 0 else "BUY"
        note(
            row.run_id,
            "filled",
            f"{verb} {abs(execution.quantity).normalize():f} {row.symbol} filled at "
            f"{execution.price_usd.normalize():f}.",
        )
    row = _settle(row, OrderState.FILLED if abs(filled) >= abs(row.quantity) else None)
    reached(FailPoint.FILL_WRITTEN)
    return row


def _corrects(execution: Execution, fill: Fill) -> bool:
    """Whether the broker says something else of the fill than before; a commission that was missing is none of that."""
    paid = {fill.commission_usd, execution.commission_usd} - {None}
    return len(paid) > 1 or (fill.quantity, fill.price_usd) != (execution.quantity, execution.price_usd)


def _change(row: Order, changes: dict[str, Any]) -> None:
    """Writes the fields that change, and only those."""
    if changes:
        Order.objects.filter(pk=row.pk).update(**changes)
        for name, value in changes.items():
            setattr(row, name, value)


def mark_order(lease: Lease, order_pk: int, target: OrderState, message: str) -> OrderView:
    """Moves an order to a state that the engine itself has found, with the reason."""
    with transaction.atomic():
        fence(lease)
        row = _settle(Order.objects.select_for_update().get(pk=order_pk), target, message=message)
        reached(FailPoint.FINDING_WRITTEN)
    return view(row)


def _settle(row: Order, target: OrderState | None, **changes: Any) -> Order:
    """Moves the row to the target, if there is one and it is not there yet and may go there."""
    if target is None or row.state == target or row.state not in TRANSITIONS[target]:
        return row
    if target not in OrderState.unsettled():
        changes["finished_at"] = Now()
    moved = _move(row.pk, target, **changes)
    if target in {
        OrderState.REJECTED,
        OrderState.UNKNOWN,
        OrderState.LOST,
        OrderState.CANCELLED,
        OrderState.EXPIRED,
    }:
        words = f": {moved.message}" if moved.message else "."
        note(moved.run_id, f"order_{target}", f"{moved} is {target}{words}", "warning")
    return moved


def _move(pk: int, target: OrderState, **changes: Any) -> Order:
    if not Order.objects.filter(pk=pk, state__in=TRANSITIONS[target]).update(state=target, **changes):
        raise IllegalTransition(f"Order {pk}", target)
    return Order.objects.get(pk=pk)


def _at_limit(row: Order) -> str:
    return f" at a limit of {row.limit_price_usd.normalize():f}" if row.limit_price_usd is not None else ""
