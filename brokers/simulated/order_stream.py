"""What has changed in the orders of a connection's accounts since the last poll."""

from collections.abc import Callable, Sequence
from datetime import timedelta

from django.db.models import Q
from django.utils import timezone

from brokers.broker_types import OrderUpdate
from brokers.simulated import mapping
from brokers.simulated.faults import Kind, ScriptedFaults
from brokers.simulated.locked_accounts import OPEN
from brokers.simulated.matching_engine import is_due
from brokers.simulated.models import SimulatedExecution, SimulatedOrder

OVERLAP = timedelta(minutes=1)
"""Time before the latest poll from which new orders are read again: one that was committed late must not be missed."""


class OrderStream:
    """Reads the orders of all accounts with one statement a poll, and the fills of those that changed with one more."""

    def __init__(self, served: Callable[[], Sequence[str]]) -> None:
        self._served = served
        self._since = self._opened_at = timezone.now() - OVERLAP
        self._states: dict[str, tuple[object, object]] = {}  # what was reported, by order id
        self._open: set[int] = set()
        self._fills: set[str] = set()

    def poll(self) -> tuple[list[OrderUpdate], bool]:
        """Return what has changed since the last call, and whether an order is due to be filled or has expired."""
        now = timezone.now()
        orders = list(
            SimulatedOrder.objects.filter(
                Q(submitted_at__gte=self._since) | Q(status__in=OPEN) | Q(pk__in=self._open),
                account__account_id__in=self._served(),
            ).select_related("account")
        )
        changed = [order for order in orders if self._states.get(order.order_id) != _state(order)]
        updates = self._report(changed) if changed else []
        open_orders = [order for order in orders if order.status in OPEN]
        self._open = {order.pk for order in open_orders}
        self._since = now - OVERLAP
        return updates, any(is_due(order, now) for order in open_orders)

    def _report(self, changed: Sequence[SimulatedOrder]) -> list[OrderUpdate]:
        """Return the fills and the states of the orders, each order's fills first."""
        faults, updates = ScriptedFaults(), []
        by_pk = {order.pk: order for order in changed}
        for fill in SimulatedExecution.objects.filter(order__in=changed, executed_at__gte=self._opened_at):
            if fill.execution_id not in self._fills:
                self._fills.add(fill.execution_id)
                fill.order = by_pk[fill.order_id]
                updates += _with_faults(mapping.execution(fill), fill.order, faults)
        for order in changed:
            self._states[order.order_id] = _state(order)
            updates += _with_faults(mapping.order_result(order), order, faults)
        return updates


def _state(order: SimulatedOrder) -> tuple[object, object]:
    return order.status, order.filled_quantity


def _with_faults(update: OrderUpdate, order: SimulatedOrder, faults: ScriptedFaults) -> list[OrderUpdate]:
    """Return the update once, or as a scripted fault requires."""
    account_id = order.account.account_id
    if faults.take(Kind.SUPPRESSED_UPDATE, account_id, order.symbol):
        return []
    return [update, update] if faults.take(Kind.DUPLICATE_UPDATE, account_id, order.symbol) else [update]
