"""Bring a channel up to date from its history, and find messages that were missed live or may be lost."""

from collections.abc import Awaitable, Callable, Container
from dataclasses import dataclass
from datetime import datetime, timedelta

from asgiref.sync import sync_to_async

from trading.listener import offsets
from trading.listener.config import Timing
from trading.listener.history import History
from trading.listener.intake import Intake
from trading.listener.messages import Received
from trading.listener.offsets import Gap


@dataclass(frozen=True)
class CaughtUp:
    """The result of a catch-up: its time by the service's clock, and the messages that were not stored before."""

    until: datetime
    new: tuple[Received, ...] = ()


class CatchUp:
    """Reads the history of a channel into the inbox."""

    def __init__(
        self,
        channel: str,
        history: History,
        intake: Intake,
        timing: Timing,
        report_gap: Callable[[Gap], Awaitable[None]],
    ) -> None:
        self._channel = channel
        self._history = history
        self._intake = intake
        self._report_gap = report_gap
        self._overlap = timedelta(seconds=timing.overlap)

    async def start(self) -> None:
        """Store the current end of a new channel as its first offset.

        Runs before the channel is attached, so that no message falls between the two.
        """
        if await sync_to_async(offsets.offset_of)(self._channel) is None:
            await sync_to_async(offsets.create)(self._channel, await self._history.now())

    async def run(self) -> CaughtUp:
        """Store every missing message, then advance the channel's offset to now.

        Raises:
            HistoryRefused, HistoryUnavailable: the offset is unchanged.
        """
        now = await self._history.now()
        offset = await sync_to_async(offsets.offset_of)(self._channel)
        if offset is None:
            await sync_to_async(offsets.create)(self._channel, now)
            return CaughtUp(now)
        reach = timedelta(seconds=offset.history_reach_seconds)
        if now - offset.caught_up_to > offsets.MIN_RETENTION:
            oldest = await self._history.oldest(self._channel)
            newest = await sync_to_async(offsets.newest_stored)(self._channel)
            reach, gap = offsets.reach_and_gap(offset, oldest, newest, now)
            if gap is not None:
                await self._report_gap(gap)  # before the offset advances, which hides the gap
        found: list[Received] = []
        start = max(offset.known_from, offset.caught_up_to - self._overlap)
        async for page in self._history.pages(self._channel, start):
            new = await sync_to_async(offsets.not_yet_stored)(self._channel, page)
            await self._intake.store(new)
            found += new
        await sync_to_async(offsets.advance)(self._channel, now, reach)
        return CaughtUp(now, tuple(found))


def missed_messages(
    caught_up: CaughtUp, received: Container[str], attached_at: datetime, grace: timedelta
) -> list[Received]:
    """Return the messages that only history had although they should have been received live.

    The SDK delivers neither a frame with an undecodable message nor messages of certain names. Such messages do not
    prove a stale connection and are left out.
    """
    undecodable = {message.frame_id for message in caught_up.new if not message.is_readable}
    return [
        message
        for message in caught_up.new
        if message.is_readable
        and not message.history_only
        and message.frame_id not in undecodable
        and message.message_id not in received
        and attached_at + grace <= message.published_at <= caught_up.until - grace
    ]
