"""Group commit for a lease: writes that arrive while one transaction commits share the next transaction.

A durable commit takes milliseconds, and the runs of a slot write at the same time. Each caller waits until its write is
committed, exactly as if it had its own transaction; only the number of commits is smaller.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
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


def seconds_since_boot() -> float:
    """Return a monotonic time in seconds; it includes the time that the host slept, where the system has that clock."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class BatchWriter:
    """Writes for all runs of one lease; every write fails with `LeaseLost` once another process has the slot."""

    def __init__(self, lease: Lease, *, clock: Callable[[], float] = seconds_since_boot) -> None:
        self.lease = lease
        self._clock = clock
        self._writes: list[tuple[Callable[[], Any], asyncio.Future[Any]]] = []
        self._updates: dict[int, list[OrderUpdate]] = defaultdict(list)
        self._applied: asyncio.Future[dict[int, OrderView]]
        self._writer: asyncio.Task[None] | None = None
        self._checking_lease = asyncio.Lock()
        self._lease_valid_until = float("-inf")

    async def write(self, function: Callable[Concatenate[Lease, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call the function in a transaction of the lease; return its result when that is committed."""
        done: asyncio.Future[T] = self._add(len(self._writes), partial(function, self.lease, *args, **kwargs))
        return await done

    async def apply_updates(self, order_pk: int, updates: Sequence[OrderUpdate]) -> OrderView:
        """Apply all of the broker's updates to an order, or none; return the order when that is committed."""
        if not self._updates:  # one write, the first of its transaction, applies the updates of all orders
            self._applied = self._add(0, partial(apply_updates, self.lease, self._updates))
        self._updates[order_pk] += updates
        # Shielded: the cancellation of one caller must not cancel the write for the others.
        return (await asyncio.shield(self._applied))[order_pk]

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

    def _add(self, position: int, function: Callable[[], Any]) -> asyncio.Future[Any]:
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._writes.insert(position, (function, done))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write_all(), name="batch writer")
        return done

    async def _write_all(self) -> None:
        while self._writes:
            writes, self._writes, self._updates = self._writes, [], defaultdict(list)
            # One thread runs all statements of the engine: they are short, and their order is preserved.
            results = await sync_to_async(_write_together)(self.lease, [function for function, _ in writes])
            for (_, done), result in zip(writes, results, strict=True):
                if done.done():
                    continue  # the caller was cancelled
                if isinstance(result, BaseException):
                    done.set_exception(result)
                else:
                    done.set_result(result)


def _write_together(lease: Lease, functions: Sequence[Callable[[], Any]]) -> list[Any]:
    """Return the result or the exception of each function, called in one transaction.

    If one of them fails on its own, each is called in its own transaction.
    """
    try:
        with fenced_transaction(lease):
            return [function() for function in functions]
    except SHARED_ERRORS as error:
        return [error] * len(functions)
    except Exception as error:  # noqa: BLE001 - raised again for the caller of the write
        return [error] if len(functions) == 1 else [_write_together(lease, [one])[0] for one in functions]
