"""Orders: a row is committed before its order is sent. `order_updates` applies what the broker reports later."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from decimal import Decimal

from django.db.models import QuerySet
from django.db.models.functions import Now
from django.utils import timezone
from pydantic import BaseModel, ConfigDict, Field

from brokers.broker_types import OrderType, TimeInForce
from calculator.formats import price
from trading.common.fail_points import FailPoint, reached
from trading.errors import IllegalTransition
from trading.journal.installation import installation
from trading.journal.leases import Lease, fenced_transaction
from trading.journal.runs import write_entries
from trading.models import ExecutedSession, Fill, Order, OrderState, RebalanceRun, TimelineEntry
from trading.models.orders import is_missing, trade_text

ORDER_ID_PREFIX = "rb-"
"""First characters of every client order id: `rb-<run>-<number>-<installation>`; older ones end with the number."""
TRANSITIONS: dict[OrderState, frozenset[OrderState]] = {
    OrderState.SUBMITTING: frozenset({OrderState.PLANNED}),
    OrderState.WORKING: frozenset({OrderState.SUBMITTING, OrderState.UNKNOWN, OrderState.LOST, OrderState.REJECTED}),
    OrderState.FILLED: frozenset(
        {
            *OrderState.open_states(),
            OrderState.CANCELLED,
            OrderState.REJECTED,
            OrderState.EXPIRED,
            OrderState.LOST,
        }
    ),
    OrderState.CANCELLED: frozenset(
        {OrderState.PLANNED, *OrderState.open_states(), OrderState.LOST, OrderState.REJECTED}
    ),
    OrderState.REJECTED: frozenset(OrderState.open_states()),
    OrderState.EXPIRED: frozenset({*OrderState.open_states(), OrderState.LOST, OrderState.REJECTED}),
    OrderState.UNKNOWN: frozenset({OrderState.SUBMITTING, OrderState.WORKING}),
    OrderState.LOST: frozenset({OrderState.SUBMITTING, OrderState.UNKNOWN}),
}
"""States from which each state can be reached. A late fill completes an order in any final state.

Of rejected orders, only a missing one changes in another way: what the broker itself has rejected stays so.
"""


class OrderView(BaseModel):
    """An order as the engine sees it; quantities are signed. The fields have the order's values."""

    model_config = ConfigDict(frozen=True, from_attributes=True)

    pk: int
    run_pk: int = Field(validation_alias="run_id")
    account_pk: int = Field(validation_alias="account_id")
    client_order_id: str
    broker_order_id: str
    symbol: str
    quantity: Decimal
    order_type: OrderType
    limit_price: Decimal | None = Field(validation_alias="limit_price_usd")
    time_in_force: TimeInForce
    state: OrderState
    filled_quantity: Decimal
    average_price: Decimal | None = Field(validation_alias="average_price_usd")
    commission: Decimal = Field(validation_alias="commission_usd")
    position_before: Decimal
    submitted_at: datetime | None
    message: str
    fills_complete: bool = False
    has_manual_fill: bool = False

    def __str__(self) -> str:
        return trade_text(self.quantity, self.symbol)

    @property
    def is_resolved(self) -> bool:
        """Whether the order was sent and can no longer change at the broker."""
        return self.state not in OrderState.open_states() and self.state != OrderState.PLANNED

    @property
    def is_missing(self) -> bool:
        """Whether the order is resolved only because the broker did not have it."""
        return is_missing(self.state, self.message)

    @property
    def proceeds_usd(self) -> Decimal:
        """Proceeds after commissions, in US dollars; negative for a buy."""
        return -self.filled_quantity * (self.average_price or Decimal(0)) - self.commission

    @property
    def remaining(self) -> Decimal:
        """Signed number of shares that are not filled."""
        return self.quantity - self.filled_quantity


@dataclass(frozen=True)
class PlannedOrder:
    """A trade of the plan for which an order is written next. Its fields are columns of the order."""

    symbol: str
    quantity: Decimal
    order_type: OrderType
    limit_price_usd: Decimal | None
    decision_price_usd: Decimal | None
    time_in_force: TimeInForce
    reason: str
    position_before: Decimal = Decimal(0)


def view(order: Order, fills: Iterable[Fill]) -> OrderView:
    """Return the order as the engine sees it, and whether every filled share has a fill with its commission."""
    stored = list(fills)
    booked = sum((fill.quantity for fill in stored), Decimal(0))
    has_all = booked == order.filled_quantity and all(fill.commission_usd is not None for fill in stored)
    complete = not order.filled_quantity or has_all
    manual = any(fill.is_manual for fill in stored)
    return OrderView.model_validate(order).model_copy(update={"fills_complete": complete, "has_manual_fill": manual})


def orders_of(run_pk: int) -> list[OrderView]:
    """Return the run's orders, oldest first."""
    return views(Order.objects.filter(run_id=run_pk).order_by("sequence"))


def open_orders_of(run_pk: int) -> list[OrderView]:
    """Return the run's open orders, oldest first."""
    return views(Order.objects.filter(run_id=run_pk, state__in=OrderState.open_states()).order_by("sequence"))


def filled_since(account_pk: int, since: datetime) -> set[tuple[str, bool]]:
    """Return the symbols that the account has traded since an instant, each with whether it was a sell."""
    fills = Fill.objects.filter(order__account_id=account_pk, executed_at__gte=since).order_by()
    return {(symbol, quantity < 0) for symbol, quantity in fills.values_list("order__symbol", "quantity").distinct()}


def orphaned_orders(account_pk: int, exclude_run: int) -> list[OrderView]:
    """Return the open orders of the account's other runs, oldest first."""
    orders = Order.objects.filter(account_id=account_pk, state__in=OrderState.open_states())
    return views(orders.exclude(run_id=exclude_run).order_by("id"))


def views(orders: QuerySet[Order]) -> list[OrderView]:
    """Return the orders as the engine sees them."""
    return [view(order, order.fills.all()) for order in orders.prefetch_related("fills")]


def plan_orders(lease: Lease, run_pk: int, planned: Sequence[PlannedOrder]) -> list[OrderView]:
    """Write the orders of a phase, each with its client order id, before any of them is sent; fenced."""
    with fenced_transaction(lease):
        run = RebalanceRun.objects.only("run_id", "account_id").get(pk=run_pk)
        first = Order.objects.filter(run=run).count() + 1
        sender = installation().installation_id
        orders = Order.objects.bulk_create(
            Order(
                run=run,
                account_id=run.account_id,
                sequence=sequence,
                client_order_id=f"{ORDER_ID_PREFIX}{run.run_id}-{sequence}-{sender}",
                **asdict(item),
            )
            for sequence, item in enumerate(planned, start=first)
        )
        return [view(order, ()) for order in orders]


def mark_submitting(lease: Lease, orders: Sequence[OrderView], session_date: date) -> list[OrderView]:
    """Mark orders of a run as submitting, all or none; fenced. This is the last write before they are sent.

    The first order of a run in a session adds the session to the trade guard's history.

    Raises:
        IllegalTransition: one of them is not planned; none may be sent.
    """
    with fenced_transaction(lease):
        pks = [order.pk for order in orders]
        planned = Order.objects.filter(pk__in=pks, state__in=TRANSITIONS[OrderState.SUBMITTING])
        if planned.update(state=OrderState.SUBMITTING, submitted_at=Now()) != len(orders):
            raise IllegalTransition("One of the orders", OrderState.SUBMITTING)
        run = {"run_id": orders[0].run_pk, "account_id": orders[0].account_pk}
        ExecutedSession.objects.bulk_create(
            [ExecutedSession(**run, session_date=session_date, first_order_at=Now())], ignore_conflicts=True
        )
        write_entries(
            TimelineEntry(run_id=order.run_pk, code="order_sent", message=f"Submitting {order}{_limit_text(order)}.")
            for order in orders
        )
        reached(FailPoint.SUBMITTING_WRITTEN)
    sent = {"state": OrderState.SUBMITTING, "submitted_at": timezone.now()}
    return [order.model_copy(update=sent) for order in orders]


def mark_not_sent(lease: Lease, order_pk: int, message: str) -> OrderView:
    """Cancel a submitting order that this process has not sent, so that it counts as never sent; fenced.

    Only the process that would have sent it knows that. If no order of the run was sent, its session does not count
    for the trade guard either.

    Raises:
        IllegalTransition: the order is not submitting.
    """
    with fenced_transaction(lease):
        changes = {"state": OrderState.CANCELLED, "message": message, "submitted_at": None}
        submitting = Order.objects.filter(pk=order_pk, state=OrderState.SUBMITTING, acknowledged_at__isnull=True)
        if not submitting.update(finished_at=Now(), **changes):
            raise IllegalTransition(f"Order {order_pk}", OrderState.CANCELLED)
        order = Order.objects.get(pk=order_pk)
        write_entries(
            [
                TimelineEntry(
                    run_id=order.run_id, code="order_not_sent", level="warning", message=f"{order}: {order.message}"
                )
            ]
        )
        if not Order.objects.filter(run_id=order.run_id, submitted_at__isnull=False).exists():
            ExecutedSession.objects.filter(run_id=order.run_id).delete()
    return view(order, ())


def _limit_text(order: OrderView) -> str:
    return f", limit price {price(order.limit_price)}" if order.limit_price is not None else ""
