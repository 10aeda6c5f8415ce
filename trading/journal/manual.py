"""Resolve orders and close runs manually, under the lease of the slot."""

from brokers.broker_types import Execution
from trading.errors import IllegalTransition
from trading.journal.leases import Lease, fenced_transaction
from trading.journal.order_updates import apply_updates, mark_order
from trading.journal.orders import OrderView
from trading.journal.outbox import notify_run_ended
from trading.journal.outcomes import write_outcome
from trading.journal.runs import move_run, write_entry
from trading.models import Order, OrderState, RebalanceRun, RunState

RESOLVED_MANUALLY = "resolved_manually"


def resolve_order(lease: Lease, order_pk: int, target: OrderState, fill: Execution | None, message: str) -> OrderView:
    """Move an open order to the final state that an operator found, with a fill that is not recorded yet.

    Raises:
        IllegalTransition: the order's present state does not allow this; nothing was changed.
    """
    with fenced_transaction(lease):
        order = Order.objects.select_for_update().get(pk=order_pk)
        if not order.is_open:
            raise IllegalTransition(f"Order {order.client_order_id}", target)
        if fill is not None:
            apply_updates(lease, {order_pk: [fill]})
        after = mark_order(lease, order_pk, target, message)
        if after.state != target:
            raise IllegalTransition(f"Order {order.client_order_id}", target)
        if target == OrderState.FILLED:  # other states add the reason to the timeline themselves
            write_entry(order.run_id, RESOLVED_MANUALLY, message, "warning")
    return after


def close_run(lease: Lease, run_pk: int, message: str) -> None:
    """End a run that needs attention as failed; its time of end stays as it was.

    Raises:
        IllegalTransition: the run does not need attention, or no longer.
    """
    with fenced_transaction(lease):
        if not RebalanceRun.objects.filter(pk=run_pk, state=RunState.NEEDS_ATTENTION).exists():
            raise IllegalTransition(f"Run {run_pk}", RunState.FAILED)
        move_run(run_pk, RunState.FAILED, error_code=RESOLVED_MANUALLY, error_message=message)
        write_entry(run_pk, RESOLVED_MANUALLY, message, "warning")
        run = RebalanceRun.objects.select_related("account", "event").prefetch_related("orders").get(pk=run_pk)
        write_outcome(run)
        notify_run_ended(run)
