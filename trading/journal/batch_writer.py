"""Group commit for a lease: writes that arrive while one transaction commits share the next transaction.

A durable commit takes milliseconds, and the runs of a slot write at the same time. Each caller waits until its write is
committed, exactly as if it had its own transaction; only the number of commits is smaller.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Concatenate, ParamSpec, TypeVar

from asgiref.sync import sync_to_async
from django.db import InterfaceError, OperationalError

from brokers.broker_types import OrderUpdate
from trading.errors import LeaseLost
from trading.journal.leases import MIN_REMAINING_SECONDS, Lease, check_lease, fenced_transaction
from trading.journal.order_updates import apply_updates
from trading.journal.orders import OrderView

P = ParamSpec("P")
T = TypeVar("T")

SHARED_ERRORS = (LeaseLost, OperationalError, InterfaceError)
"""Errors of the transaction and not of one write: every write in it fails with the error, and none is retried."""
LEASE_CHECK_TIMEOUT_SECONDS = 15.0
"""Maximum time to confirm the lease while the database answers slowly, in seconds."""


@dataclass
class _PendingWrite:
    """A write, and the future of its caller."""

    function: Callable[[], Any]
    done: asyncio.Future[Any]


@dataclass
class _PendingUpdates:
    """Updates of one order that are not written yet, and the futures of their callers."""

    updates: list[OrderUpdate] = field(default_factory=list)
    done: list[asyncio.Future[OrderView]] = field(default_factory=list)


def seconds_since_boot() -> float:
    """Return a monotonic time in seconds; it includes the time that the host slept, where the system has that clock."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class BatchWriter:
    """Writes for all runs of one lease; every write fails with `LeaseLost` once another process has the slot."""

    def __init__(self, lease: Lease, *, clock: Callable[[], float] = seconds_since_boot) -> None:
        self.lease = lease
        self._clock = clock
        self._writes: list[_PendingWrite] = []
        self._updates: dict[int, _PendingUpdates] = {}
        self._writer: asyncio.Task[None] | None = None
        self._checking_lease = asyncio.Lock()
        self._lease_valid_until = float("-inf")

    async def write(self, function: Callable[Concatenate[Lease, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call the function in a transaction of the lease; return its result when that is committed."""
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._writes.append(_PendingWrite(partial(function, self.lease, *args, **kwargs), done))
        self._start()
        return await done

    async def apply_updates(self, order_pk: int, updates: Sequence[OrderUpdate]) -> OrderView:
        """Apply all of the broker's updates to an order, or none; return the order when that is committed."""
        done: asyncio.Future[OrderView] = asyncio.get_running_loop().create_future()
        pending = self._updates.setdefault(order_pk, _PendingUpdates())
        pending.updates += updates
        pending.done.append(done)
        self._start()
        return await done

    async def check_lease(self) -> None:
        """Confirm that the lease is still valid, right before an effect.

        A confirmation by the database is reused for half of the minimum remaining lease: no process can claim the
        slot before the lease expires.

        Raises:
            LeaseLost: another process has the slot.
            OperationalError: the database answers so slowly that its confirmation has expired when it arrives.
        """
        give_up_at = self._clock() + LEASE_CHECK_TIMEOUT_SECONDS
        while (now := self._clock()) >= self._lease_valid_until:
            if now >= give_up_at:
                raise OperationalError(f"The database did not confirm the lease in {LEASE_CHECK_TIMEOUT_SECONDS:g} s.")
            async with self._checking_lease:  # the orders of a phase wait here together: one of them checks for all
                asked_at = self._clock()
                if asked_at >= self._lease_valid_until:
                    await sync_to_async(check_lease)(self.lease)
                    self._lease_valid_until = asked_at + MIN_REMAINING_SECONDS / 2

    def _start(self) -> None:
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write_all(), name="batch writer")

    async def _write_all(self) -> None:
        while self._writes or self._updates:
            writes, self._writes = self._writes, []
            pending, self._updates = self._updates, {}
            if pending:
                updates = {pk: order.updates for pk, order in pending.items()}
                applied: asyncio.Future[dict[int, OrderView]] = asyncio.get_running_loop().create_future()
                applied.add_done_callback(partial(_deliver_orders, pending))
                writes.insert(0, _PendingWrite(partial(apply_updates, self.lease, updates), applied))
            # One thread runs all statements of the engine: they are short, and their order is preserved.
            results = await sync_to_async(_write_together)(self.lease, [write.function for write in writes])
            for write, result in zip(writes, results, strict=True):
                _deliver(write.done, result)


def _write_together(lease: Lease, functions: Sequence[Callable[[], Any]]) -> list[Any]:
    """Call the functions in one transaction; if one of them fails on its own, call each in its own transaction.

    Returns:
        For each function its result or its exception.
    """
    try:
        with fenced_transaction(lease):
            return [function() for function in functions]
    except SHARED_ERRORS as error:
        return [error] * len(functions)
    except Exception as error:  # noqa: BLE001 - raised again for the caller of the write
        return [error] if len(functions) == 1 else [_write_together(lease, [one])[0] for one in functions]


def _deliver(done: asyncio.Future[Any], result: Any) -> None:
    if done.done():
        return  # the caller was cancelled
    if isinstance(result, BaseException):
        done.set_exception(result)
    else:
        done.set_result(result)


def _deliver_orders(pending: dict[int, _PendingUpdates], applied: asyncio.Future[dict[int, OrderView]]) -> None:
    error = applied.exception()
    for pk, order in pending.items():
        for done in order.done:
            _deliver(done, error or applied.result()[pk])
