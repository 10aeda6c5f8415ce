"""Orders and runs that neither records nor workers could settle: a person does, and says how they know."""

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
from trading.access.audit import note
from trading.access.two_factor import code_missing, confirm_live
from trading.common.log_context import redact
from trading.engine.lease_heartbeat import slot_lease
from trading.errors import IllegalTransition, LeaseLost, Refused
from trading.journal import manual
from trading.journal.leases import Lease
from trading.models import Order, OrderState, RebalanceRun, RunState
from trading.models.run_documents import TradingValue

PERMISSION = "trading.resolve_order"
NOTHING = "Nothing has changed."
OPENS = time(9, 30)


class Outcome(StrEnum):
    """What became of an order."""

    FILLED = "filled"
    CANCELLED = "cancelled"
    NEVER_ARRIVED = "never_arrived"


class Finding(TradingValue):
    """What a person has found in the broker's statement.

    Shares, price (USD) and commission (USD, in all) are of what was filled and is not recorded yet; shares carry no
    sign. The day is New York's; the one on which the order was sent when it is left out.
    """

    outcome: Outcome
    shares: Decimal = Field(default=Decimal(0), ge=0, max_digits=20, decimal_places=8)
    price_usd: Decimal = Field(default=Decimal(0), ge=0, max_digits=20, decimal_places=8)
    commission_usd: Decimal = Field(default=Decimal(0), ge=0, max_digits=20, decimal_places=8)
    day: date | None = None


def may_resolve(person: User) -> bool:
    """Whether the person may settle orders and close runs."""
    return person.has_perm(PERMISSION)


def can_be_resolved(order: Order) -> bool:
    """Whether the order may be alive while no worker follows it."""
    return order.is_open and order.run.is_finished


def can_be_closed(run: RebalanceRun, orders: Iterable[Order]) -> bool:
    """Whether the run needs attention, and none of its orders may be alive any more."""
    return run.state == RunState.NEEDS_ATTENTION and not any(order.is_open for order in orders)


def resolve_order(
    order: Order, person: User, finding: Finding, comment: str, *, typed_account_id: str = "", code: str | None = ""
) -> Order:
    """Settles one order as a person has found it; its run is closed with it when no other order is open.

    Args:
        order: one that may be alive, of a run that has ended.
        person: who has looked.
        finding: what the broker's statement says.
        comment: how they know.
        typed_account_id: of a live account, its number as the person typed it.
        code: of a live account, the one-time code; None where the person was checked in another way.

    Raises:
        Refused: nothing has changed; the message says why.
    """
    comment = _checked(person, order.account, comment)
    _check_open(order)  # before the slot is asked for: a run that is alive has it
    message = redact(f"{person.get_username()} has settled it by hand: {comment}")
    try:
        with _slot(order.run.connection_id) as lease:
            # As it is now: nobody else changes it while we have the slot.
            order = Order.objects.select_related("run", "account").get(pk=order.pk)
            _check_open(order)
            fill = _fill(order, finding)
            target = _target(order, finding, fill)
            confirm_live(order.account, person, typed_account_id, code)
            with transaction.atomic():
                manual.resolve_order(lease, order.pk, target, fill, message)
                what = f"Account {order.account.account_id}, {order.client_order_id}: {_words(finding)}. {comment}"
                note("settled an order", f"{order} of run {order.run.run_id}", what, person=person)
                if not _open_orders(order.run) and order.run.state == RunState.NEEDS_ATTENTION:
                    manual.close_run(lease, order.run_id, message)
    except IllegalTransition as moved:
        raise Refused(
            "order_already_resolved", f"The order has moved meanwhile; look at it again. {NOTHING}"
        ) from moved
    order.refresh_from_db()
    return order


def close_run(run: RebalanceRun, person: User, comment: str) -> None:
    """Closes a run that needed attention and has no open orders (any more): a person has looked.

    Raises:
        Refused: nothing has changed; the message says why.
    """
    comment = _checked(person, run.account, comment)
    if run.state != RunState.NEEDS_ATTENTION:
        raise Refused("run_already_closed", f"Run {run.run_id} does not need attention. {NOTHING}")
    if left := _open_orders(run):
        raise Refused("orders_not_resolved", f"Settle these orders first: {', '.join(map(str, left))}. {NOTHING}")
    try:
        with _slot(run.connection_id) as lease, transaction.atomic():
            manual.close_run(lease, run.pk, redact(f"{person.get_username()} has closed the run: {comment}"))
            note("closed a run", f"{run}", f"Account {run.account.account_id}. {comment}", person=person)
    except IllegalTransition as moved:
        raise Refused("run_already_closed", f"Somebody else has closed the run meanwhile. {NOTHING}") from moved


@contextmanager
def _slot(connection_id: int) -> Iterator[Lease]:
    try:
        with slot_lease(connection_id, "by hand") as lease:
            yield lease
    except (BlockingIOError, LeaseLost) as busy:
        raise Refused("connection_busy", f"{busy} {NOTHING}") from busy


def _checked(person: User, account: Account, comment: str) -> str:
    if not may_resolve(person):
        raise Refused("not_permitted", f"You may not settle orders by hand. Ask someone with the right. {NOTHING}")
    if refusal := code_missing(person, account):
        raise refusal
    if not comment.strip():
        raise Refused("comment_missing", f"Say how you know, for those who read it later. {NOTHING}")
    return comment.strip()


def _check_open(order: Order) -> None:
    if not order.run.is_finished:
        raise Refused("run_not_finished", f"Run {order.run.run_id} has not ended: its worker settles it. {NOTHING}")
    if not order.is_open:
        raise Refused("order_already_resolved", f"{order} is {order.state}: there is nothing to settle. {NOTHING}")


def _open_orders(run: RebalanceRun) -> list[Order]:
    return list(run.orders.filter(state__in=OrderState.open_states()))


def _fill(order: Order, finding: Finding) -> Execution | None:
    """What was filled and is not recorded, as an execution of the order."""
    filled = order.booked_shares + finding.shares
    if filled < order.filled_shares:
        _refuse(f"the broker has reported {order.filled_shares.normalize():f} filled shares: state their price")
    if filled > order.shares:
        _refuse(f"{filled.normalize():f} shares are more than the order is for")
    if finding.outcome != Outcome.FILLED:
        if finding.shares:
            _refuse("what was not filled has no shares")
        return None
    if not finding.shares or not finding.price_usd:
        _refuse("state the shares that were filled, and their price")
    return Execution(
        execution_id=f"by-hand-{order.client_order_id}",
        account_id=order.account.account_id,
        symbol=order.symbol,
        quantity=-finding.shares if order.is_sell else finding.shares,
        price_usd=finding.price_usd,
        commission_usd=finding.commission_usd,
        executed_at=_executed_at(order, finding.day),
        client_order_id=order.client_order_id,
    )


def _target(order: Order, finding: Finding, fill: Execution | None) -> OrderState:
    if finding.outcome == Outcome.NEVER_ARRIVED:
        if order.broker_order_id or order.filled_quantity or order.state == OrderState.WORKING:
            _refuse("the broker has answered to it, so it did arrive")
        return OrderState.LOST
    whole = fill is not None and order.booked_shares + abs(fill.quantity) == order.shares
    return OrderState.FILLED if whole else OrderState.CANCELLED


def _executed_at(order: Order, day: date | None) -> datetime:
    sent = order.submitted_at or order.created_at
    sent_day = sent.astimezone(NEW_YORK).date()
    if day is None or day == sent_day:
        return sent
    if not sent_day <= day <= timezone.now().astimezone(NEW_YORK).date():
        _refuse(f"it was sent on {sent_day}, and cannot have been filled on {day}")
    return datetime.combine(day, OPENS, NEW_YORK)


def _refuse(why: str) -> NoReturn:
    raise Refused("inconsistent_resolution", f"This does not fit: {why}. {NOTHING}")


def _words(finding: Finding) -> str:
    if finding.outcome != Outcome.FILLED:
        return finding.outcome.replace("_", " ")
    return (
        f"{finding.shares.normalize():f} filled at {finding.price_usd.normalize():f}, "
        f"commission {finding.commission_usd.normalize():f}"
    )
