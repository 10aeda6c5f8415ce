"""Keeps a slot's lease alive while something is done under it."""

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
    """Renews the lease until the end of the block.

    Yields:
        The heartbeat: it ends only by raising `LeaseLost`. Wait for it beside the work.
    """
    heartbeat = asyncio.create_task(_keep(lease), name="lease")
    try:
        yield heartbeat
    finally:
        heartbeat.cancel()
        await asyncio.gather(heartbeat, return_exceptions=True)


async def _keep(lease: Lease) -> None:
    """Renews the lease; a database that is away for longer than it lives loses it."""
    loop = asyncio.get_running_loop()
    good_until = loop.time() + settings.LEASE_TTL_SECONDS
    while True:
        await asyncio.sleep(settings.LEASE_TTL_SECONDS / 4)
        try:
            await sync_to_async(leases.renew_lease)(lease)
            good_until = loop.time() + settings.LEASE_TTL_SECONDS
        except DatabaseError:
            logger.exception("The lease of slot %s could not be renewed", lease.connection_id)
            if loop.time() > good_until:
                raise LeaseLost from None
