"""Settles orders that a run has left behind: unknown ones, by the broker's records."""

import asyncio
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import connections

from brokers.exceptions import BrokerError
from trading.engine.connection import SlotConnection
from trading.engine.lease_heartbeat import lease_heartbeat
from trading.errors import LeaseLost
from trading.journal import leases
from trading.journal.batch_writer import BatchWriter
from trading.journal.claims import has_ready_runs
from trading.journal.leases import Lease
from trading.journal.orders import OrderView, open_orders_of
from trading.journal.run_journal import RunJournal
from trading.models import OrderState, RebalanceRun, RunState
from trading.orders.reconciliation import Reconciler
from trading.planning.run_context import make_run_context
from trading.queue.wake import wake_slot

logger = logging.getLogger("rebalancer.trading")


def recover_run_orders(run: RebalanceRun) -> list[OrderView]:
    """Brings the unsettled orders of a run that has ended to what the broker's records say.

    Returns:
        The orders that were looked for, as they are now; some may still be unknown.

    Raises:
        BrokerError: the broker cannot be asked now; nothing has changed.
        BlockingIOError: another process works the slot; try again in a moment.
    """
    with slot_lease(run.connection_id, "reconcile") as lease:
        return asyncio.run(_settle_run(run, lease))


@contextmanager
def slot_lease(connection_id: int, purpose: str) -> Iterator[Lease]:
    """The slot's lease until the end of the block; then whoever waits for the slot is woken.

    Raises:
        BlockingIOError: another process works the slot; try again in a moment.
    """
    lease = leases.claim_lease(connection_id, f"{socket.gethostname()}:{os.getpid()}:{purpose}")
    if lease is None:
        raise BlockingIOError("Another process works the connection slot; try again in a moment.")
    try:
        yield lease
    finally:
        leases.release_lease(lease)
        if has_ready_runs(connection_id):  # it came while we had the lease
            wake_slot(connection_id)


def ended_runs_with_open_orders() -> list[RebalanceRun]:
    """Runs that have ended with orders that may be alive."""
    runs = RebalanceRun.objects.filter(orders__state__in=OrderState.open_states()).exclude(state=RunState.RUNNING)
    return list(runs.distinct().select_related("account__strategy", "account__policy", "event", "approved_preview"))


def recover_orphaned_orders() -> int:
    """Looks for all orders that ended runs have left behind, by itself; what cannot be settled now is logged.

    Returns:
        How many orders are still not settled.
    """
    unsettled = 0
    for run in ended_runs_with_open_orders():
        try:
            unsettled += sum(not order.is_resolved for order in recover_run_orders(run))
        except (BrokerError, LeaseLost, BlockingIOError) as trouble:
            logger.warning("Orders of run %s could not be looked for: %s", run.run_id, trouble)
            unsettled += 1
    return unsettled


async def _settle_run(run: RebalanceRun, lease: Lease) -> list[OrderView]:
    try:
        link = SlotConnection(lease)
        try:
            async with lease_heartbeat(lease):
                return await _settle(run, link, RunJournal(BatchWriter(lease), run.pk))
        finally:
            await link.close()
    finally:
        await sync_to_async(connections.close_all)()


async def _settle(run: RebalanceRun, link: SlotConnection, journal: RunJournal) -> list[OrderView]:
    context = await sync_to_async(make_run_context)(run)
    client = (await link.ready(context, run.event_id)).client
    reconciler = Reconciler(client, journal, context.account_id, settings.ORDER_SETTLE_SECONDS)
    settled = []
    for order in await sync_to_async(open_orders_of)(run.pk):
        try:
            settled.append(await reconciler.settle(order))
        except BrokerError:
            logger.exception("Order %s could not be settled", order.client_order_id)
            raise
    return settled
