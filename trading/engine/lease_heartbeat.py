"""Hold a slot's lease, and renew it while work is done under it."""

import asyncio
import logging
import os
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import DatabaseError

from trading.errors import LeaseLost, SlotBusy
from trading.journal import leases
from trading.journal.claims import has_ready_runs
from trading.journal.leases import Lease
from trading.queue.wake import wake_slot

logger = logging.getLogger("rebalancer.trading")


@contextmanager
def slot_lease(connection_id: int, purpose: str) -> Iterator[Lease]:
    """Hold the slot's lease until the end of the block. Then wake a worker if runs are waiting for the slot.

    Raises:
        SlotBusy: another process uses the slot; try again in a moment.
    """
    lease = leases.claim_lease(connection_id, f"{socket.gethostname()}:{os.getpid()}:{purpose}")
    if lease is None:
        raise SlotBusy
    try:
        yield lease
    finally:
        leases.release_lease(lease)
        if has_ready_runs(connection_id):  # queued while this process had the lease
            wake_slot(connection_id)


@asynccontextmanager
async def lease_heartbeat(lease: Lease) -> AsyncIterator[asyncio.Task[None]]:
    """Renew the lease until the end of the block.

    Yields:
        The heartbeat task. It ends only by raising `LeaseLost`: wait for it together with the work.
    """
    heartbeat = asyncio.create_task(_renew_until_lost(lease), name="lease heartbeat")
    try:
        yield heartbeat
    finally:
        heartbeat.cancel()
        await asyncio.gather(heartbeat, return_exceptions=True)


async def _renew_until_lost(lease: Lease) -> None:
    """Renew the lease at a quarter of its lifetime. It is lost if the database is unreachable for longer than that."""
    loop = asyncio.get_running_loop()
    valid_until = loop.time() + settings.LEASE_TTL_SECONDS
    while True:
        await asyncio.sleep(settings.LEASE_TTL_SECONDS / 4)
        try:
            await sync_to_async(leases.renew_lease)(lease)
            valid_until = loop.time() + settings.LEASE_TTL_SECONDS
        except DatabaseError:
            logger.exception("The lease of slot %s could not be renewed", lease.connection_id)
            if loop.time() > valid_until:
                raise LeaseLost from None
