"""What a person has found out that nothing else could settle, of an order or a run; under the lease of the slot."""

from brokers.broker_types import Execution
from trading.errors import IllegalTransition
from trading.journal.leases import Lease, fenced
from trading.journal.order_updates import apply_updates, mark_order
from trading.journal.orders import OrderView
from trading.journal.outbox import notify_run_ended
from trading.journal.runs import move_run, note
from trading.models import Order, OrderState, RebalanceRun, RunState

CODE = "resolved_manually"


def resolve_order(lease: Lease, order_pk: int, target: OrderState, fill: Execution | None, message: str) -> OrderView:
    """Brings an order to its end as a person has found it, with what was filled and is not recorded yet.

    Raises:
        IllegalTransition: the order cannot end like this from where it stands; nothing has changed.
    """
    with fenced(lease):
        order = Order.objects.select_for_update().get(pk=order_pk)
        if not order.is_open:
            raise IllegalTransition(f"Order {order.client_order_id}", target)
        if fill is not None:
            apply_updates(lease, {order_pk: [fill]})
        after = mark_order(lease, order_pk, target, message)
        if after.state != target:
            raise IllegalTransition(f"Order {order.client_order_id}", target)
        if target == OrderState.FILLED:  # of other ends the story tells the reason by itself
            note(order.run_id, CODE, message, "warning")
    return after


def close_run(lease: Lease, run_pk: int, message: str) -> None:
    """Ends a run that needed attention as failed; when it had stopped stays as it is.

    Raises:
        IllegalTransition: it does not need attention (any more).
    """
    with fenced(lease):
        if not RebalanceRun.objects.filter(pk=run_pk, state=RunState.NEEDS_ATTENTION).exists():
            raise IllegalTransition(f"Run {run_pk}", RunState.FAILED)
        move_run(run_pk, RunState.FAILED, error_code=CODE, error_message=message)
        note(run_pk, CODE, message, "warning")
        notify_run_ended(RebalanceRun.objects.select_related("account", "event").get(pk=run_pk))
