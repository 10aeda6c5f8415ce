"""One writer for a lease: what comes while a transaction is being committed is written together by the next one.

A durable commit takes milliseconds, and the runs of a slot have many things to write at the same time. Whoever writes
waits until it is committed, exactly as if it were alone; only the number of commits is smaller.
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
from trading.journal.leases import SURE_SECONDS, Lease, check_lease, fenced
from trading.journal.order_updates import apply_updates
from trading.journal.orders import OrderView

P = ParamSpec("P")
T = TypeVar("T")

MOMENT_SECONDS = 0.002
"""A broker says several things at once: words alone are written when the next have had the time to come."""
OF_ALL = (LeaseLost, OperationalError, InterfaceError)
"""Errors that are nobody's own: what is written together fails together, and is not tried again."""
PROOF_SECONDS = 15.0
"""For so long a database that answers too late is asked again whose the slot is."""
CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""Goes on while a host sleeps, where there is such a clock."""


@dataclass
class _Entry:
    """Something to be written, and who waits for it."""

    write: Callable[[], Any]
    written: asyncio.Future[Any]


@dataclass
class _Words:
    """What the broker has said of an order, and who waits until it is recorded."""

    said: list[OrderUpdate] = field(default_factory=list)
    written: list[asyncio.Future[OrderView]] = field(default_factory=list)


class BatchWriter:
    """Writes for all runs of one lease; every write fails with `LeaseLost` once another process has the slot."""

    def __init__(self, lease: Lease) -> None:
        self.lease = lease
        self._entries: list[_Entry] = []
        self._words: dict[int, _Words] = {}
        self._writer: asyncio.Task[None] | None = None
        self._asking = asyncio.Lock()
        self._sure_until = float("-inf")

    async def write(self, function: Callable[Concatenate[Lease, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Calls the function in a transaction of the lease; returns when that is committed."""
        written: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._entries.append(_Entry(partial(function, self.lease, *args, **kwargs), written))
        self._wake()
        return await written

    async def words(self, order_pk: int, said: Sequence[OrderUpdate]) -> OrderView:
        """Brings an order to what the broker says, all of it or nothing; returns when that is committed."""
        written: asyncio.Future[OrderView] = asyncio.get_running_loop().create_future()
        waiting = self._words.setdefault(order_pk, _Words())
        waiting.said += said
        waiting.written.append(written)
        self._wake()
        return await written

    async def check_lease(self) -> None:
        """Makes sure that the slot is ours, right before an effect: by the database, or by its word of a moment ago.

        That word is good for as long as it said: nobody can take a lease before it has run out.

        Raises:
            LeaseLost: another process goes on.
            OperationalError: the database takes so long to answer that its word is old when it comes.
        """
        give_up_at = time.clock_gettime(CLOCK) + PROOF_SECONDS
        while (now := time.clock_gettime(CLOCK)) >= self._sure_until:
            if now >= give_up_at:
                raise OperationalError(f"The database did not say in time whose the slot is, for {PROOF_SECONDS:g} s.")
            async with self._asking:  # the orders of a phase come here at the same time: one of them asks
                asked_at = time.clock_gettime(CLOCK)
                if asked_at >= self._sure_until:
                    await sync_to_async(check_lease)(self.lease)
                    self._sure_until = asked_at + SURE_SECONDS / 2

    def _wake(self) -> None:
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write_all(), name="scribe")

    async def _write_all(self) -> None:
        while self._entries or self._words:
            if not self._entries:
                await asyncio.sleep(MOMENT_SECONDS)
            entries, self._entries = self._entries, []
            words, self._words = self._words, {}
            if words:
                said = {pk: waiting.said for pk, waiting in words.items()}
                recorded: asyncio.Future[dict[int, OrderView]] = asyncio.get_running_loop().create_future()
                recorded.add_done_callback(partial(_hand_out, words))
                entries.insert(0, _Entry(partial(apply_updates, self.lease, said), recorded))
            # One thread for all of the engine's statements: they are short, and their order is kept.
            outcomes = await sync_to_async(_write_together)(self.lease, [entry.write for entry in entries])
            for entry, outcome in zip(entries, outcomes, strict=True):
                _tell(entry.written, outcome)


def _write_together(lease: Lease, writes: Sequence[Callable[[], Any]]) -> list[Any]:
    """In one transaction; if one of them fails by its own fault, each in one of its own.

    Returns:
        Of each what it returned or raised.
    """
    try:
        with fenced(lease):
            return [write() for write in writes]
    except OF_ALL as error:
        return [error] * len(writes)
    except Exception as error:  # noqa: BLE001 - handed to whoever waits for the write
        return [error] if len(writes) == 1 else [_write_together(lease, [write])[0] for write in writes]


def _tell(waiting: asyncio.Future[Any], outcome: Any) -> None:
    if waiting.done():
        return  # it was cancelled, and does not want to know
    if isinstance(outcome, BaseException):
        waiting.set_exception(outcome)
    else:
        waiting.set_result(outcome)


def _hand_out(words: dict[int, _Words], recorded: asyncio.Future[dict[int, OrderView]]) -> None:
    error = recorded.exception()
    for pk, waiting in words.items():
        for written in waiting.written:
            _tell(written, error or recorded.result()[pk])
