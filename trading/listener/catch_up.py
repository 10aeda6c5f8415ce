"""Brings a channel up to date from history, and says what that shows: what was not heard, and what may be lost."""

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
from trading.models import ChannelPosition


@dataclass(frozen=True)
class CaughtUp:
    """What a catch-up has found."""

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
        tell_of_gap: Callable[[Gap], Awaitable[None]],
    ) -> None:
        self._channel = channel
        self._history = history
        self._intake = intake
        self._tell_of_gap = tell_of_gap
        self._overlap = timedelta(seconds=timing.overlap)

    async def begin(self) -> None:
        """Notes the head of a channel that is new. Before it is attached, so that nothing falls between."""
        if await sync_to_async(offsets.position_of)(self._channel) is None:
            await sync_to_async(offsets.begin)(self._channel, await self._history.now())

    async def run(self) -> CaughtUp:
        """Stores all that is missing; only then the channel counts as stored up to now.

        Raises:
            HistoryRefused, HistoryUnavailable: the position stays where it is.
        """
        now = await self._history.now()
        position = await sync_to_async(offsets.position_of)(self._channel)
        if position is None:
            await sync_to_async(offsets.begin)(self._channel, now)
            return CaughtUp(now)
        reach, gap = await self._reach_and_gap(position, now)
        if gap is not None:
            await self._tell_of_gap(gap)  # before the position moves on, which makes it look whole again
        found: list[Received] = []
        start = max(position.known_from, position.caught_up_to - self._overlap)
        async for page in self._history.pages(self._channel, start):
            new = await sync_to_async(offsets.not_yet_stored)(self._channel, page)
            await self._intake.store(new)
            found += new
        await sync_to_async(offsets.advance)(self._channel, now, reach)
        return CaughtUp(now, tuple(found))

    async def _reach_and_gap(self, position: ChannelPosition, now: datetime) -> tuple[timedelta, Gap | None]:
        if now - position.caught_up_to <= offsets.KEPT_AT_LEAST:
            return timedelta(seconds=position.history_reach_seconds), None
        oldest = await self._history.oldest(self._channel)
        newest = await sync_to_async(offsets.newest_stored)(self._channel)
        return offsets.reach_and_gap(position, oldest, newest, now)


def missed(caught_up: CaughtUp, heard: Container[str], attached_at: datetime, grace: timedelta) -> list[Received]:
    """Of what only history had: what should have been heard live, and was not.

    A frame with an undecodable message never reaches a listener, nor does a message of a silent name; neither says
    that the channel is deaf.
    """
    spoilt = {message.frame_id for message in caught_up.new if not message.is_readable}
    return [
        message
        for message in caught_up.new
        if message.is_readable
        and not message.silent
        and message.frame_id not in spoilt
        and message.message_id not in heard
        and attached_at + grace <= message.published_at <= caught_up.until - grace
    ]
