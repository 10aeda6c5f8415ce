"""Resolve open orders of ended runs from the broker's records."""

import asyncio
import logging
import time
from datetime import timedelta

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import connections
from django.utils import timezone

from accounts.models.account import FOLLOWED_STRATEGY
from brokers.exceptions import BrokerError
from trading.common.concurrency import run_concurrently
from trading.engine.connection import SlotConnection
from trading.engine.lease_heartbeat import lease_heartbeat, slot_lease
from trading.errors import LeaseLost, SlotBusy
from trading.journal.batch_writer import BatchWriter
from trading.journal.leases import Lease
from trading.journal.orders import OrderView, open_orders_of
from trading.journal.run_journal import RunJournal
from trading.models import OrderState, RebalanceRun, RunState
from trading.orders.reconciliation import Reconciler
from trading.planning.run_context import make_run_context

logger = logging.getLogger("rebalancer.trading")

MAX_SECONDS = 300.0
"""Time after which the task looks up no further run, in seconds. It is repeated every five minutes."""

PATIENT_FOR = timedelta(minutes=15)
"""Age of an order up to which the task waits until an empty answer of the broker proves something."""


def recover_run_orders(run: RebalanceRun) -> list[OrderView]:
    """Resolve the open orders of an ended run from the broker's records.

    Returns:
        The orders that were looked up; some may still be unknown.

    Raises:
        BrokerError: the broker cannot be reached now; nothing has changed.
        SlotBusy: another process uses the slot; try again in a moment.
    """
    # The account's present slot: the account can have moved since the run. Only a cancel needs the slot of the run.
    with slot_lease(run.account.connection_id, "reconcile") as lease:
        return asyncio.run(_recover(run, lease))


def ended_runs_with_open_orders() -> list[RebalanceRun]:
    """Return the runs that have ended with orders that may be open at the broker."""
    runs = RebalanceRun.objects.filter(orders__state__in=OrderState.open_states()).exclude(state=RunState.RUNNING)
    return list(
        runs.distinct().select_related(f"account__{FOLLOWED_STRATEGY}", "account__policy", "event", "approved_preview")
    )


def recover_orphaned_orders() -> int:
    """Resolve the open orders of all ended runs; return how many are still open. A failed run counts as one."""
    still_open, give_up_at = 0, time.monotonic() + MAX_SECONDS
    for run in ended_runs_with_open_orders():
        if time.monotonic() > give_up_at:
            still_open += 1
            continue
        try:
            still_open += sum(not order.is_resolved for order in recover_run_orders(run))
        except (BrokerError, LeaseLost, SlotBusy) as error:
            logger.warning("Orders of run %s could not be looked up: %s", run.run_id, error)
            still_open += 1
    return still_open


def _is_recent(order: OrderView) -> bool:
    """Return whether to wait until the order is proven lost. An older order had its wait, which blocks the slot."""
    return order.submitted_at is None or timezone.now() - order.submitted_at < PATIENT_FOR


async def _recover(run: RebalanceRun, lease: Lease) -> list[OrderView]:
    connection = SlotConnection(lease)
    try:
        async with lease_heartbeat(lease):
            context = await sync_to_async(make_run_context)(run)
            resources = await connection.acquire(context, run.event_id)
            journal = RunJournal(BatchWriter(lease), run.pk)
            reconciler = Reconciler(
                resources.client, resources.updates, journal, context.account_id, settings.ORDER_SETTLE_SECONDS
            )
            orders = await sync_to_async(open_orders_of)(run.pk)
            # Together: a broker whose answers do not count yet is waited for once.
            lookups = (reconciler.resolve(order, patient=_is_recent(order)) for order in orders)
            return list(await run_concurrently(*lookups))
    finally:
        try:
            await connection.close()
        finally:
            await sync_to_async(connections.close_all)()
