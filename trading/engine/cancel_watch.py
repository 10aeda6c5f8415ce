"""Learn quickly that a user wants the working orders of a run cancelled: one query for all runs of a slot."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from trading.errors import DATABASE_ERRORS
from trading.models import RebalanceRun

logger = logging.getLogger("rebalancer.trading")


class CancelWatch:
    """Watches the runs of one slot that have orders at the broker. Without any, it queries nothing."""

    def __init__(self, interval_seconds: float) -> None:
        self._interval_seconds = interval_seconds
        self._requested: dict[int, asyncio.Event] = {}

    @contextmanager
    def watch(self, run_pk: int) -> Iterator[asyncio.Event]:
        """Watch a run until the end of the block. The event is set when its working orders are to be cancelled."""
        self._requested[run_pk] = event = asyncio.Event()
        try:
            yield event
        finally:
            del self._requested[run_pk]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Query the database at the interval until the end of the block."""
        querying = asyncio.create_task(self._query(), name="cancel watch")
        try:
            yield
        finally:
            querying.cancel()
            await asyncio.gather(querying, return_exceptions=True)

    async def _query(self) -> None:
        while True:
            await asyncio.sleep(self._interval_seconds)
            waiting = [pk for pk, event in self._requested.items() if not event.is_set()]
            if not waiting:
                continue
            requested = RebalanceRun.objects.filter(pk__in=waiting, cancel_requested_at__isnull=False)
            try:
                found = [pk async for pk in requested.values_list("pk", flat=True)]
            except DATABASE_ERRORS:
                logger.exception("Requests to cancel orders could not be read; trying again")
                continue
            for pk in found:
                if pk in self._requested:
                    self._requested[pk].set()
