"""How far each channel is stored for certain: rows that outlive every process."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from accounts.models import Strategy
from trading.inbox.payload import known_messages
from trading.listener.messages import Received
from trading.models import ChannelPosition, EventSource, StrategyEvent

KEPT_AT_LEAST = timedelta(minutes=2)
"""How long the service keeps messages of a channel for which nothing more was asked."""


@dataclass(frozen=True)
class Gap:
    """Messages of this while may have been lost: history does not prove that it reaches so far."""

    since: datetime
    until: datetime

    def __str__(self) -> str:
        return f"{self.since:%Y-%m-%d %H:%M:%S} to {self.until:%Y-%m-%d %H:%M:%S} UTC"


def enabled_strategies() -> list[str]:
    """The channels to listen to."""
    return list(Strategy.objects.filter(enabled=True).order_by("name").values_list("name", flat=True))


def forget_all_but(channels: Iterable[str]) -> None:
    """Forgets channels that are not listened to: what is published there meanwhile is not acted on later."""
    ChannelPosition.objects.exclude(channel__in=list(channels)).delete()


def position_of(channel: str) -> ChannelPosition | None:
    """Where the channel stands; nothing when it is new."""
    return ChannelPosition.objects.filter(channel=channel).first()


def begin(channel: str, now: datetime) -> None:
    """Notes the head of a channel that is new: nothing older is acted on."""
    ChannelPosition.objects.get_or_create(channel=channel, defaults={"known_from": now, "caught_up_to": now})


def advance(channel: str, until: datetime, reach: timedelta) -> None:
    """Everything until then is stored. Only forwards, whoever else listens."""
    ChannelPosition.objects.filter(channel=channel).update(history_reach_seconds=int(reach.total_seconds()))
    ChannelPosition.objects.filter(channel=channel, caught_up_to__lt=until).update(caught_up_to=until)


def not_yet_stored(channel: str, messages: list[Received]) -> list[Received]:
    """Those that the inbox does not have, or has under the same id with another content."""
    pairs = [(message.message_id, message.payload) for message in messages]
    known = known_messages(EventSource.ABLY, channel, pairs)
    return [message for index, message in enumerate(messages) if index not in known]


def reach_and_gap(
    position: ChannelPosition, oldest: datetime | None, newest_stored: datetime | None, now: datetime
) -> tuple[timedelta, Gap | None]:
    """How far back history is known to reach, and what may be lost because that is not far enough.

    Args:
        position: where the channel stands.
        oldest: the oldest message that history still has.
        newest_stored: the newest message of the inbox.
        now: by the clock of the service.
    """
    reach = max(timedelta(seconds=position.history_reach_seconds), KEPT_AT_LEAST)
    if newest_stored is not None and now - newest_stored < reach and (oldest is None or oldest > newest_stored):
        reach = KEPT_AT_LEAST  # a message is gone that was to be there: less is kept than it was
    if oldest is not None:
        reach = max(reach, now - oldest)
    if now - position.caught_up_to <= reach:
        return reach, None
    return reach, Gap(position.caught_up_to, oldest or now - reach)


def newest_stored(channel: str) -> datetime | None:
    """When the newest message of the inbox was published that came over the channel itself, and so has a serial."""
    stored = StrategyEvent.objects.filter(source=EventSource.ABLY, channel=channel).exclude(serial="")
    return stored.order_by("-published_at").values_list("published_at", flat=True).first()
