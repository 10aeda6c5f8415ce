"""Renew a slot's lease while work is done under it."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import DatabaseError

from trading.errors import LeaseLost
from trading.journal import leases
from trading.journal.leases import Lease

logger = logging.getLogger("rebalancer.trading")


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
