"""Callback -> queue -> one writer -> inbox. A message leaves the queue only after it is stored."""

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ably.types.message import Message
from asgiref.sync import sync_to_async
from django import db
from django.utils import timezone

from trading.inbox.broken_events import store_broken_event
from trading.inbox.receive import receive_event
from trading.listener.alerts import alert
from trading.listener.config import Timing
from trading.listener.messages import Received, from_live
from trading.listener.status import Status
from trading.models import EventSource

logger = logging.getLogger("rebalancer.trading")

BATCH_SIZE = 50


@dataclass(frozen=True)
class _LiveMessage:
    channel: str
    message: Message


@dataclass(frozen=True)
class _Barrier:
    """Reached when everything that was queued before it is stored."""

    reached: "asyncio.Future[None]"


class Intake:
    """The queue of received messages and its writer."""

    def __init__(self, status: Status, timing: Timing) -> None:
        self._queue: asyncio.Queue[_LiveMessage | Received | _Barrier] = asyncio.Queue()
        self._queued: Counter[tuple[str, str]] = Counter()
        self._status = status
        self._timing = timing

    @property
    def waiting(self) -> int:
        """The number of messages that are not stored yet."""
        return self._queue.qsize()

    def receive(self, channel: str, message: Message) -> None:
        """Queue a live message. The SDK calls this and swallows errors, so nothing here may fail."""
        self._queued[channel, str(message.id)] += 1
        self._queue.put_nowait(_LiveMessage(channel, message))

    async def store(self, messages: Sequence[Received]) -> None:
        """Queue messages of history, and return when all of them are in the inbox.

        A message that is already queued live is not queued again; the barrier comes after it.
        """
        barrier = _Barrier(asyncio.get_running_loop().create_future())
        for message in messages:
            if not self._queued[message.channel, message.message_id]:
                self._queue.put_nowait(message)
        self._queue.put_nowait(barrier)
        await barrier.reached

    async def drained(self) -> None:
        """Wait until every received message is stored."""
        await self.store(())

    async def write(self) -> None:
        """Store queued messages in order, forever. Exactly one task runs this."""
        while True:
            batch = [await self._queue.get()]
            while len(batch) < BATCH_SIZE and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            await self._write(batch)

    async def _write(self, batch: list[_LiveMessage | Received | _Barrier]) -> None:
        pause = self._timing.back_off_first
        messages = [
            from_live(item.channel, item.message) if isinstance(item, _LiveMessage) else item
            for item in batch
            if not isinstance(item, _Barrier)
        ]
        done = 0
        while done < len(messages):
            stored, error = await sync_to_async(_store)(messages[done:])
            for message in messages[done : done + stored]:
                self._status.record_stored(message.channel, message.published_at, timezone.now())
            done += stored
            if error is not None:
                logger.error("The inbox cannot be written (%s). Retrying in %.0f s", error, pause)
                if pause >= self._timing.back_off_longest:
                    await alert(
                        "Events cannot be stored",
                        f"{self.waiting} messages wait in the listener's memory: {type(error).__name__}. Check that "
                        "the database works and that its migrations are those of this version.",
                    )
                await asyncio.sleep(pause)
                pause = min(2 * pause, self._timing.back_off_longest)
        self._queued -= Counter(
            (item.channel, str(item.message.id)) for item in batch if isinstance(item, _LiveMessage)
        )
        for item in batch:
            if isinstance(item, _Barrier) and not item.reached.done():
                item.reached.set_result(None)


def _store(messages: Sequence[Received]) -> tuple[int, Exception | None]:
    """Store messages in order. Return their number, and the error if the database did not store one."""
    for index, message in enumerate(messages):
        try:
            _store_one(message)
        except db.Error as error:  # any: during an upgrade the tables can differ from the models of this process
            db.connections.close_all()
            return index, error
    return len(messages), None


def _store_one(message: Received) -> None:
    """Store a message: processed, or, after an unexpected error, as broken.

    Raises:
        db.Error: the database stored neither. The same write can safely be repeated.
    """
    fields: Any = {
        "source": EventSource.ABLY,
        "channel": message.channel,
        "message_id": message.message_id,
        "payload": message.payload,
        "published_at": message.published_at,
        "serial": message.serial,
    }
    try:
        try:
            receive_event(**fields)
        except db.IntegrityError:  # another process stored it between our read and our write
            receive_event(**fields)
    except (db.OperationalError, db.InterfaceError):
        raise
    except Exception:  # entry point of a message: nothing is final that failed by our fault
        logger.exception("Message %s of %s caused an unexpected error", message.message_id, message.channel)
        store_broken_event(**fields)
