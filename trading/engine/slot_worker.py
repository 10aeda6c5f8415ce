"""Work a connection slot: one lease, one connection, all its queued runs concurrently, until none is left."""

import asyncio
import logging
import os
import signal
import socket
import uuid
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from asgiref.sync import sync_to_async
from django.db import DatabaseError, connections
from django.utils import timezone

from trading.common.fail_points import FailPoint, reached
from trading.common.timings import DEFAULT_TIMINGS, Timings
from trading.engine.cancel_watch import CancelWatch
from trading.engine.connection import SlotConnection
from trading.engine.lease_heartbeat import lease_heartbeat
from trading.engine.run_supervisor import RunSupervisor
from trading.errors import DATABASE_ERRORS, LeaseLost
from trading.journal import claims, leases
from trading.journal.leases import Lease
from trading.market_calendar import MarketCalendar, market_calendar
from trading.queue import shutdown
from trading.queue.wake import wake_slot

logger = logging.getLogger("rebalancer.trading")


def work_slot(connection_id: int, timings: Timings = DEFAULT_TIMINGS) -> bool:
    """Execute the runs that wait for the slot, unless another process is doing so.

    When this process must stop, it sends no more orders, waits until those that it has sent are acknowledged and
    recorded, releases the slot, and leaves its runs to another worker.

    Returns:
        Whether this process had the lease at all.
    """
    had_lease, stop_now = asyncio.run(_work_slot(connection_id, timings))
    if stop_now:
        signal.raise_signal(signal.SIGTERM)  # the lease is released: the process may now end as requested
    return had_lease


async def _work_slot(connection_id: int, timings: Timings) -> tuple[bool, bool]:
    stop = shutdown.watch()
    loop = _LeaseLoop(connection_id, timings, stop.event)
    try:
        await loop.run()
    except LeaseLost:
        logger.warning("Slot %s: another process has claimed it", connection_id)
    except DATABASE_ERRORS:
        logger.exception("Slot %s: database error; its runs will be resumed", connection_id)
        # Only this connection may be dead. Release the lease over a new one rather than let it expire.
        await sync_to_async(connections.close_all)()
        with suppress(DatabaseError):
            await loop.release()
    finally:
        await sync_to_async(connections.close_all)()
    return loop.had_lease, stop.by_signal


class _LeaseLoop:
    """Works a slot for one wake-up, under as many leases as are needed."""

    def __init__(self, connection_id: int, timings: Timings, stop: asyncio.Event) -> None:
        self._connection_id = connection_id
        self._timings = timings
        self._stop = stop
        self._owner = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self._lease: Lease | None = None
        self.had_lease = False

    async def run(self) -> None:
        claim_until = asyncio.get_running_loop().time() + self._timings.claim_window_seconds
        while not self._stop.is_set():
            self._lease = await sync_to_async(leases.claim_lease)(self._connection_id, self._owner)
            if self._lease is None:
                return
            self.had_lease = True
            reached(FailPoint.LEASE_CLAIMED)
            worker = SlotWorker(self._lease, market_calendar(), self._timings, claim_until, self._stop)
            await worker.work()
            await sync_to_async(leases.release_lease)(self._lease)
            reached(FailPoint.LEASE_RELEASED)
            # A run that was queued between the last claim and the release found the slot in use.
            # While the broker is unreachable, another lease right after this one cannot make progress.
            if worker.supervisor.broker_is_unreachable or not await sync_to_async(claims.has_ready_runs)(
                self._connection_id
            ):
                return
            if asyncio.get_running_loop().time() > claim_until:
                break
        await sync_to_async(wake_slot)(self._connection_id)

    async def release(self) -> None:
        if self._lease is not None:
            await sync_to_async(leases.release_lease)(self._lease)
            await sync_to_async(wake_slot)(self._connection_id)


class SlotWorker:
    """Executes the slot's runs under one lease."""

    def __init__(
        self, lease: Lease, calendar: MarketCalendar, timings: Timings, claim_until: float, stop: asyncio.Event
    ) -> None:
        self._lease = lease
        self._calendar = calendar
        self._timings = timings
        self._claim_until = claim_until
        self._stop = stop
        self._connection = SlotConnection(lease, timings)
        self._cancel_watch = CancelWatch(timings.cancel_watch_seconds)
        self.supervisor = RunSupervisor(lease, self._connection, calendar, timings, self._cancel_watch)
        self._tasks: set[asyncio.Task[None]] = set()
        self._has_suspect = False

    async def work(self) -> None:
        """Claim runs and execute them concurrently until none is left or this process must stop.

        Raises:
            LeaseLost: another process has claimed the slot; no effect followed after that was known.
            DatabaseError: the database failed; the rows and the broker show what the runs have done.
        """
        async with self._cancel_watch.running(), lease_heartbeat(self._lease) as heartbeat:
            stopping = asyncio.create_task(self._stop.wait(), name="stop request")
            try:
                while not self._stop.is_set():
                    await self._claim()
                    if not self._tasks:
                        return
                    await self._wait_for_any(heartbeat, stopping)
                await self._leave_runs(heartbeat)
            finally:
                await _cancel({*self._tasks, stopping})
                await self._connection.close()

    async def _claim(self) -> None:
        """Claim the runs that are ready. Nothing is claimed while a suspect run, which runs alone, is in progress."""
        if (self._has_suspect and self._tasks) or asyncio.get_running_loop().time() >= self._claim_until:
            return
        claimed = await sync_to_async(claims.claim_runs)(self._lease, busy=bool(self._tasks))
        self._has_suspect = any(claims.must_run_alone(run) for run in claimed)
        if claimed:
            # The first use of a calendar takes seconds. In the thread of the database's statements it would keep the
            # lease from being renewed.
            await asyncio.to_thread(self._calendar.session_of, timezone.now())
        for run in claimed:
            self._tasks.add(asyncio.create_task(self.supervisor.execute(run), name=f"run {run.run_id}"))

    async def _wait_for_any(self, *others: asyncio.Task[Any]) -> None:
        done, _ = await asyncio.wait(
            {*self._tasks, *others}, timeout=self._timings.claim_interval_seconds, return_when=asyncio.FIRST_COMPLETED
        )
        self._tasks -= done
        for task in done:
            task.result()  # raises LeaseLost, or an error that no run could record

    async def _leave_runs(self, heartbeat: asyncio.Task[None]) -> None:
        """Cancel the runs and leave them to another worker. An order that is being sent is completed first."""
        await _cancel(self._tasks)
        if heartbeat.done():
            heartbeat.result()
        for pk in await sync_to_async(claims.release_runs)(self._lease):
            logger.warning("Slot %s: stopping; run %s is left to another worker", self._lease.connection_id, pk)


async def _cancel(tasks: Iterable[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
