"""Resolve orders and close runs manually, if neither the broker's records nor a worker could."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import date, datetime, time
from decimal import Decimal
from enum import StrEnum
from typing import NoReturn

from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone
from pydantic import Field

from accounts.models import Account
from brokers.broker_types import Execution
from brokers.exchange_calendar import NEW_YORK
from calculator.formats import money, price, shares
from trading.access.audit import note
from trading.access.permissions import check_permissions
from trading.access.two_factor import code_missing, confirm_live
from trading.common.formats import day_text
from trading.common.log_context import redact
from trading.engine.lease_heartbeat import slot_lease
from trading.errors import IllegalTransition, LeaseLost, Refused, SlotBusy
from trading.journal import manual, unrecorded
from trading.journal.leases import Lease
from trading.models import Order, OrderState, RebalanceRun, RunState, UnrecordedOrder
from trading.models.orders import MANUAL_EXECUTION_PREFIX
from trading.models.run_documents import TradingValue

PERMISSION = "trading.resolve_order"
NO_CHANGE = "Nothing was changed."
MARKET_OPEN = time(9, 30)


class Outcome(StrEnum):
    """The outcome of an order."""

    FILLED = "filled"
    CANCELLED = "cancelled"
    NEVER_ARRIVED = "never_arrived"


class Resolution(TradingValue):
    """The outcome of an order according to the broker's statement.

    The unsigned number of shares, the price (USD) and the total commission (USD) are those of fills that are not
    recorded yet. The day is a New York date; it defaults to the day on which the order was sent.
    """

    outcome: Outcome
    shares: Decimal = Field(default=Decimal(0), ge=0, max_digits=20, decimal_places=8)
    price_usd: Decimal = Field(default=Decimal(0), ge=0, max_digits=20, decimal_places=8)
    commission_usd: Decimal = Field(default=Decimal(0), ge=0, max_digits=20, decimal_places=8)
    day: date | None = None

    def __str__(self) -> str:
        if self.outcome != Outcome.FILLED:
            return self.outcome.replace("_", " ")
        return f"{shares(self.shares)} filled at {price(self.price_usd)}, commission {money(self.commission_usd)}"


def may_resolve(user: User) -> bool:
    """Whether the user may resolve orders and close runs."""
    return user.has_perm(PERMISSION)


def can_be_resolved(order: Order) -> bool:
    """Whether the order is open while its run has ended, so that no worker tracks it."""
    return order.is_open and order.run.is_finished


def can_be_closed(run: RebalanceRun, orders: Iterable[Order]) -> bool:
    """Whether the run needs attention and none of its orders is open."""
    return run.state == RunState.NEEDS_ATTENTION and not any(order.is_open for order in orders)


def resolve_order(
    order: Order, user: User, resolution: Resolution, comment: str, *, typed_account_id: str = "", code: str | None = ""
) -> Order:
    """Resolve one open order of an ended run manually. The run is closed if no other order is open.

    A live account needs the account number that the user typed, and the two-factor code; the code is None if the user
    was verified in another way.

    Raises:
        Refused: nothing was changed; the message contains the reason.
    """
    comment = _check_request(user, order.account, comment)
    _check_open(order)  # before the lease is claimed, because the worker of a run in progress has it
    message = redact(f"Resolved manually by {user.get_username()}: {comment}")
    try:
        with _lease(order.run.connection_id) as lease:
            # Read again: no other process changes the order while this one has the lease.
            order = Order.objects.select_related("run", "account").get(pk=order.pk)
            _check_open(order)
            fill = _unrecorded_fill(order, resolution)
            target = _target_state(order, resolution, fill)
            confirm_live(order.account, user, typed_account_id, code)
            with transaction.atomic():
                manual.resolve_order(lease, order.pk, target, fill, message)
                detail = f"Account {order.account.account_id}, {order.client_order_id}: {resolution}. {comment}"
                note("resolved an order", f"{order} of run {order.run.run_id}", detail, person=user)
                if not _open_orders(order.run) and order.run.state == RunState.NEEDS_ATTENTION:
                    manual.close_run(lease, order.run_id, message)
    except IllegalTransition as moved:
        message = f"The order has changed in the meantime. {NO_CHANGE} Check it again."
        raise Refused("order_already_resolved", message) from moved
    order.refresh_from_db()
    return order


def close_run(run: RebalanceRun, user: User, comment: str) -> None:
    """Close a run that needs attention and has no open orders.

    Raises:
        Refused: nothing was changed; the message contains the reason.
    """
    comment = _check_request(user, run.account, comment)
    if run.state != RunState.NEEDS_ATTENTION:
        raise Refused("run_already_closed", f"Run {run.run_id} does not need attention. {NO_CHANGE}")
    if left := _open_orders(run):
        raise Refused("orders_not_resolved", f"Resolve these orders first: {', '.join(map(str, left))}. {NO_CHANGE}")
    try:
        with _lease(run.connection_id) as lease, transaction.atomic():
            manual.close_run(lease, run.pk, redact(f"Closed by {user.get_username()}: {comment}"))
            note("closed a run", f"{run}", f"Account {run.account.account_id}. {comment}", person=user)
    except IllegalTransition as moved:
        raise Refused("run_already_closed", f"Another user has already closed the run. {NO_CHANGE}") from moved


def acknowledge_order(order: UnrecordedOrder, user: User, comment: str) -> None:
    """Resolve an order at the broker that has no row, without recording it.

    Raises:
        Refused: nothing was changed; the message contains the reason.
    """
    comment = _check_request(user, order.account, comment)
    message = redact(f"Acknowledged by {user.get_username()}: {comment}")
    with _lease(order.account.connection_id) as lease, transaction.atomic():
        if not unrecorded.acknowledge(lease, order.account_id, order.client_order_id, message):
            raise Refused("order_already_resolved", f"{order} is already resolved. {NO_CHANGE}")
        note("acknowledged an order", f"{order}", f"Account {order.account.account_id}. {comment}", person=user)


@contextmanager
def _lease(connection_id: int) -> Iterator[Lease]:
    try:
        with slot_lease(connection_id, "manual") as lease:
            yield lease
    except (SlotBusy, LeaseLost) as busy:
        raise Refused("connection_busy", f"{busy} {NO_CHANGE}") from busy


def _check_request(user: User, account: Account, comment: str) -> str:
    check_permissions(user, PERMISSION, action="resolve orders and close runs")
    if refusal := code_missing(user, account):
        raise refusal
    if not comment.strip():
        raise Refused("comment_missing", f"Enter a comment that states how you know the outcome. {NO_CHANGE}")
    return comment.strip()


def _check_open(order: Order) -> None:
    if not order.run.is_finished:
        message = f"Run {order.run.run_id} is in progress, and its worker tracks the order. {NO_CHANGE}"
        raise Refused("run_not_finished", message)
    if not order.is_open:
        raise Refused("order_already_resolved", f"{order} is already resolved ({order.state}). {NO_CHANGE}")


def _open_orders(run: RebalanceRun) -> list[Order]:
    return list(run.orders.filter(state__in=OrderState.open_states()))


def _unrecorded_fill(order: Order, resolution: Resolution) -> Execution | None:
    """Return the fill that is not recorded yet as an execution of the order."""
    filled = order.booked_shares + resolution.shares
    if filled < order.filled_shares:
        _refuse(f"the broker has reported {shares(order.filled_shares)} filled shares; enter their price")
    if filled > order.shares:
        _refuse(f"{shares(filled)} filled shares are more than the order has")
    if resolution.outcome != Outcome.FILLED:
        if resolution.shares:
            _refuse("an order that was not filled has no filled shares")
        return None
    if not resolution.shares or not resolution.price_usd:
        _refuse("enter the filled shares and their price")
    return Execution(
        execution_id=f"{MANUAL_EXECUTION_PREFIX}{order.client_order_id}",
        account_id=order.account.account_id,
        symbol=order.symbol,
        quantity=-resolution.shares if order.is_sell else resolution.shares,
        price_usd=resolution.price_usd,
        commission_usd=resolution.commission_usd,
        executed_at=_executed_at(order, resolution.day),
        client_order_id=order.client_order_id,
    )


def _target_state(order: Order, resolution: Resolution, fill: Execution | None) -> OrderState:
    if resolution.outcome == Outcome.NEVER_ARRIVED:
        if order.broker_order_id or order.filled_quantity or order.state == OrderState.WORKING:
            _refuse("the broker has acknowledged the order, so it arrived")
        return OrderState.LOST
    is_complete = fill is not None and order.booked_shares + abs(fill.quantity) == order.shares
    return OrderState.FILLED if is_complete else OrderState.CANCELLED


def _executed_at(order: Order, day: date | None) -> datetime:
    sent = order.submitted_at or order.created_at
    sent_day = sent.astimezone(NEW_YORK).date()
    if day is None or day == sent_day:
        return sent
    if not sent_day <= day <= timezone.now().astimezone(NEW_YORK).date():
        _refuse(f"it was sent on {day_text(sent_day)} and cannot have been filled on {day_text(day)}")
    return datetime.combine(day, MARKET_OPEN, NEW_YORK)


def _refuse(reason: str) -> NoReturn:
    raise Refused("inconsistent_resolution", f"The outcome contradicts the records: {reason}. {NO_CHANGE}")
