"""The journal as the engine uses it: for one run, under one lease, inside the event loop."""

from collections.abc import Callable, Coroutine, Sequence
from datetime import date
from typing import Any, Concatenate, ParamSpec, TypeVar

from asgiref.sync import sync_to_async

from brokers.broker_types import OrderUpdate
from trading.common.fail_points import FailPoint, reached
from trading.journal import approvals, claims, order_updates, orders, runs
from trading.journal.batch_writer import BatchWriter
from trading.journal.leases import Lease, seconds_since
from trading.journal.orders import OrderView
from trading.journal.prior_state import PriorState, read_prior_state
from trading.models import Order, OrderState

P = ParamSpec("P")
T = TypeVar("T")


def _method(
    function: Callable[Concatenate[Lease, int, P], T],
) -> Callable[Concatenate["RunJournal", P], Coroutine[Any, Any, T]]:
    """Return a method that calls the function for the journal's run, in a transaction of the lease."""

    async def method(self: "RunJournal", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self.write(function, self.run_pk, *args, **kwargs)

    return method


class RunJournal:
    """Writes for one run; every write fails with `LeaseLost` once another process has the slot."""

    def __init__(self, writer: BatchWriter, run_pk: int) -> None:
        self.run_pk = run_pk
        self.write = writer.write
        self.check_lease = writer.check_lease
        self._apply_updates = writer.apply_updates

    record = _method(runs.record)
    add_timeline_entry = _method(runs.add_timeline_entry)
    record_auto_approval = _method(runs.record_auto_approval)
    record_replanned_approval = _method(approvals.record_replanned_approval)
    end = _method(runs.end_run)
    defer = _method(runs.defer_run)
    release = _method(claims.release_run)
    plan_orders = _method(orders.plan_orders)

    async def orders(self) -> list[OrderView]:
        """Return the run's orders, oldest first."""
        return await sync_to_async(orders.orders_of)(self.run_pk)

    async def mark_submitting(self, planned: Sequence[OrderView], session_date: date) -> list[OrderView]:
        """Mark the orders as submitting, all or none; await this right before they are sent."""
        submitting = await self.write(orders.mark_submitting, planned, session_date)
        # In the database thread: a process that is stopped here has no open transaction.
        await sync_to_async(reached)(FailPoint.SUBMITTING_COMMITTED)
        return submitting

    async def mark_not_sent(self, order: OrderView, message: str) -> OrderView:
        """Cancel a submitting order that this process has not sent, with the reason."""
        return await self.write(orders.mark_not_sent, order.pk, message)

    async def apply(self, order: OrderView, *updates: OrderUpdate) -> OrderView:
        """Apply all of the broker's updates to an order, or none; updates that change nothing cost no write."""
        news = [update for update in updates if order_updates.changes_order(order, update)]
        return await self._apply_updates(order.pk, news) if news else order

    async def mark(self, order: OrderView, state: OrderState, message: str) -> OrderView:
        """Move an order to a state that the engine has determined, with the reason."""
        return await self.write(order_updates.mark_order, order.pk, state, message)

    async def read_prior_state(self, account_pk: int) -> PriorState:
        """Return what is known of the account before the broker is queried."""
        return await sync_to_async(read_prior_state)(self.run_pk, account_pk)

    async def age_seconds(self, order: OrderView) -> float:
        """Return the seconds since the order was sent, by the database's clock; 0 when it was not sent."""
        return await sync_to_async(seconds_since)(Order.objects.filter(pk=order.pk), "submitted_at")
