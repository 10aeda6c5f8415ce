"""Works a connection slot: one lease, one link, all its queued runs at once, until nothing is left to do."""

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
from django.db import DatabaseError, InterfaceError, OperationalError, connections
from django.utils import timezone

from trading.common.fail_points import FailPoint, reached
from trading.engine.connection import SlotConnection
from trading.engine.lease_heartbeat import lease_heartbeat
from trading.engine.run_supervisor import RunSupervisor
from trading.errors import LeaseLost
from trading.journal import claims, leases
from trading.journal.leases import Lease
from trading.market_calendar import MarketCalendar, market_calendar
from trading.queue import shutdown
from trading.queue.wake import wake_slot

logger = logging.getLogger("rebalancer.trading")

TAKE_UP_SECONDS = 60.0
"""For so long a worker takes up new runs; then it leaves them to the next wake-up, to end within its task's time."""
LOOK_AGAIN_SECONDS = 1.0


def work_slot(connection_id: int) -> bool:
    """Carries out what waits for the slot, unless another process is doing so.

    When this process is told to stop, it sends no more orders, waits until those that it has sent are acknowledged
    and recorded, lets go of the slot, and leaves its runs to another worker.

    Returns:
        Whether this process had the lease at all.
    """
    had_it, ends_now = asyncio.run(_work_slot(connection_id))
    if ends_now:
        signal.raise_signal(signal.SIGTERM)  # now that nothing is held, it ends as it was told to
    return had_it


async def _work_slot(connection_id: int) -> tuple[bool, bool]:
    told = shutdown.watch()
    shift = _Shift(connection_id, told.event)
    try:
        await shift.work()
    except LeaseLost:
        logger.warning("Slot %s: another process has taken over", connection_id)
    except (OperationalError, InterfaceError):
        logger.exception("Slot %s: the database failed; what is going on is taken up again", connection_id)
        # This connection may be dead while the next one works: lets go rather than let the lease run out.
        await sync_to_async(connections.close_all)()
        with suppress(DatabaseError):
            await shift.release()
    finally:
        await sync_to_async(connections.close_all)()
    return shift.had_it, told.by_signal


class _Shift:
    """One wake-up's work on a slot: as many leases as it takes."""

    def __init__(self, connection_id: int, told_to_stop: asyncio.Event) -> None:
        self._connection_id = connection_id
        self._told_to_stop = told_to_stop
        self._owner = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self._lease: Lease | None = None
        self.had_it = False

    async def work(self) -> None:
        until = asyncio.get_running_loop().time() + TAKE_UP_SECONDS
        while not self._told_to_stop.is_set():
            self._lease = await sync_to_async(leases.claim_lease)(self._connection_id, self._owner)
            if self._lease is None:
                return
            self.had_it = True
            reached(FailPoint.LEASE_CLAIMED)
            worker = SlotWorker(self._lease, market_calendar(), until, self._told_to_stop)
            await worker.work()
            await sync_to_async(leases.release_lease)(self._lease)
            reached(FailPoint.LEASE_RELEASED)
            # A run that was queued between our last look and the release found the lease taken.
            if not worker.may_go_on or not await sync_to_async(claims.has_ready_runs)(self._connection_id):
                return
            if asyncio.get_running_loop().time() > until:
                break
        await sync_to_async(wake_slot)(self._connection_id)

    async def release(self) -> None:
        if self._lease is not None:
            await sync_to_async(leases.release_lease)(self._lease)
            await sync_to_async(wake_slot)(self._connection_id)


class SlotWorker:
    """Everything that happens under one lease."""

    def __init__(
        self, lease: Lease, calendar: MarketCalendar, take_up_until: float, told_to_stop: asyncio.Event
    ) -> None:
        self._lease = lease
        self._take_up_until = take_up_until
        self._told_to_stop = told_to_stop
        self._link = SlotConnection(lease)
        self._calendar = calendar
        self._door = RunSupervisor(lease, self._link, calendar)
        self._tasks: set[asyncio.Task[None]] = set()
        self._alone = False

    @property
    def may_go_on(self) -> bool:
        """Whether another lease right after this one makes sense."""
        return not self._door.broker_is_away

    async def work(self) -> None:
        """Takes up runs and carries them out, concurrently, until none is left or this process is told to stop.

        Raises:
            LeaseLost: another process goes on; nothing more was done after that was known.
            DatabaseError: the database failed; what the runs have done stands in the rows and at the broker.
        """
        async with lease_heartbeat(self._lease) as heartbeat:
            told = asyncio.create_task(self._told_to_stop.wait(), name="told to stop")
            try:
                while not self._told_to_stop.is_set():
                    await self._take_up()
                    if not self._tasks:
                        return
                    await self._first_of(heartbeat, told)
                await self._hand_over(heartbeat)
            finally:
                await _cancel({*self._tasks, told})
                await self._link.close()

    async def _take_up(self) -> None:
        if self._alone and self._tasks:
            return
        if asyncio.get_running_loop().time() < self._take_up_until:
            taken = await sync_to_async(claims.claim_runs)(self._lease, busy=bool(self._tasks))
            self._alone = any(claims.must_run_alone(run) for run in taken)
            if taken:
                # Reading a calendar takes a process seconds, once: not in the one thread of the database's statements,
                # where the lease could not be renewed meanwhile.
                await asyncio.to_thread(self._calendar.session_of, timezone.now())
            for run in taken:
                self._tasks.add(asyncio.create_task(self._door.carry_out(run), name=f"run {run.run_id}"))

    async def _first_of(self, *others: asyncio.Task[Any]) -> None:
        done, _ = await asyncio.wait(
            {*self._tasks, *others}, timeout=LOOK_AGAIN_SECONDS, return_when=asyncio.FIRST_COMPLETED
        )
        self._tasks -= done
        for task in done:
            task.result()  # raises LeaseLost, and whatever no run could record

    async def _hand_over(self, heartbeat: asyncio.Task[None]) -> None:
        """Interrupts the runs; an order that is being sent is waited for, under the lease."""
        await _cancel(self._tasks)
        if heartbeat.done():
            heartbeat.result()
        for pk in await sync_to_async(claims.release_runs)(self._lease):
            logger.warning("Slot %s: told to stop; run %s is left to another worker", self._lease.connection_id, pk)


async def _cancel(tasks: Iterable[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
