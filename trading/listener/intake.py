"""Callback -> queue -> one writer -> inbox. Nothing leaves the queue before it is stored."""

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ably.types.message import Message
from asgiref.sync import sync_to_async
from django.db import IntegrityError, InterfaceError, OperationalError, connections
from django.utils import timezone

from trading.inbox.receive import receive_event
from trading.listener.config import Timing
from trading.listener.messages import Received, from_live
from trading.listener.status import Status
from trading.models import EventSource
from trading.models.run_documents import Unreadable

logger = logging.getLogger("rebalancer.trading")

BATCH = 50
AWAY = (OperationalError, InterfaceError)
"""The database is away or busy: the same again later is right, and safe."""


@dataclass(frozen=True)
class _Heard:
    channel: str
    message: Message


@dataclass(frozen=True)
class _Mark:
    """Everything that was put into the queue before it has been stored."""

    reached: "asyncio.Future[None]"


class Intake:
    """The queue and its writer."""

    def __init__(self, status: Status, timing: Timing) -> None:
        self._queue: asyncio.Queue[_Heard | Received | _Mark] = asyncio.Queue()
        self._queued: Counter[tuple[str, str]] = Counter()
        self._status = status
        self._timing = timing

    @property
    def waiting(self) -> int:
        """How many messages are not stored yet."""
        return self._queue.qsize()

    def hear(self, channel: str, message: Message) -> None:
        """Takes a live message. Called back by the SDK, which swallows errors: nothing here can fail."""
        self._queued[channel, str(message.id)] += 1
        self._queue.put_nowait(_Heard(channel, message))

    async def store(self, messages: Sequence[Received]) -> None:
        """Takes messages of history, and returns when all of them are in the inbox.

        What is in the queue already, in a burst, is not put there again: the mark comes after it.
        """
        mark = _Mark(asyncio.get_running_loop().create_future())
        for message in messages:
            if not self._queued[message.channel, message.message_id]:
                self._queue.put_nowait(message)
        self._queue.put_nowait(mark)
        await mark.reached

    async def drained(self) -> None:
        """Waits until everything that was taken is stored."""
        await self.store(())

    async def write(self) -> None:
        """The one writer: stores what is in the queue, in its order, for ever."""
        while True:
            batch = [await self._queue.get()]
            while len(batch) < BATCH and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            await self._write(batch)

    async def _write(self, batch: list[_Heard | Received | _Mark]) -> None:
        pause = self._timing.back_off_first
        messages = [
            from_live(item.channel, item.message) if isinstance(item, _Heard) else item
            for item in batch
            if not isinstance(item, _Mark)
        ]
        done = 0
        while done < len(messages):
            stored, trouble = await sync_to_async(_store)(messages[done:])
            for message in messages[done : done + stored]:
                self._status.stored(message.channel, message.published_at, timezone.now())
            done += stored
            if trouble is not None:
                logger.error("The inbox cannot be written (%s); trying again in %.0f s", trouble, pause)
                await asyncio.sleep(pause)
                pause = min(2 * pause, self._timing.back_off_longest)
        self._queued -= Counter((item.channel, str(item.message.id)) for item in batch if isinstance(item, _Heard))
        for item in batch:
            if isinstance(item, _Mark) and not item.reached.done():
                item.reached.set_result(None)


def _store(messages: Sequence[Received]) -> tuple[int, Exception | None]:
    """Stores the messages in order; stops where the database is away.

    Returns:
        How many are stored, and what stopped it.
    """
    for index, message in enumerate(messages):
        try:
            _store_one(message)
        except AWAY as trouble:
            connections.close_all()
            return index, trouble
    return len(messages), None


def _store_one(message: Received) -> None:
    try:
        try:
            _receive(message, message.payload)
        except IntegrityError:  # another process was between our look and our write
            _receive(message, message.payload)
    except AWAY:
        raise
    except Exception:  # the door of a message: kept as one that nobody can act on, and the next one is served
        logger.exception("Message %s of %s broke the inbox; it is kept unread", message.message_id, message.channel)
        content = message.payload.content if isinstance(message.payload, Unreadable) else str(message.payload)
        _receive(message, Unreadable(content=content, why="it broke the inbox; the log has the details"))


def _receive(message: Received, payload: object) -> None:
    receive_event(
        source=EventSource.ABLY,
        channel=message.channel,
        message_id=message.message_id,
        payload=payload,
        published_at=message.published_at,
        serial=message.serial,
    )
