"""The stored offset of each channel: the time up to which all of its messages are in the inbox."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from accounts.models import Strategy
from trading.common.formats import ZONE, instant_text
from trading.inbox.payload import known_messages
from trading.listener.messages import Received
from trading.models import ChannelPosition, EventSource, StrategyEvent

MIN_RETENTION = timedelta(minutes=2)
"""How long the service stores the messages of a channel without persistence."""


@dataclass(frozen=True)
class Gap:
    """A period whose messages may be lost, because history is not known to reach that far back."""

    since: datetime
    until: datetime

    def __str__(self) -> str:
        return f"{instant_text(self.since)} to {instant_text(self.until)} {ZONE}"


def update_channels() -> list[str]:
    """Return the names of the enabled strategies, which are the channels to listen to.

    Delete the offsets of other channels, so that messages published there in the meantime are never processed.
    """
    channels = list(Strategy.objects.filter(enabled=True).order_by("name").values_list("name", flat=True))
    ChannelPosition.objects.exclude(channel__in=channels).delete()
    return channels


def offset_of(channel: str) -> ChannelPosition | None:
    """Return the offset of a channel, or None if it is new."""
    return ChannelPosition.objects.filter(channel=channel).first()


def create(channel: str, now: datetime) -> None:
    """Store the first offset of a new channel. Older messages are never processed."""
    ChannelPosition.objects.get_or_create(channel=channel, defaults={"known_from": now, "caught_up_to": now})


def advance(channel: str, until: datetime, reach: timedelta) -> None:
    """Record that everything up to `until` is stored. Never moves an offset back, also with several listeners."""
    ChannelPosition.objects.filter(channel=channel).update(history_reach_seconds=int(reach.total_seconds()))
    ChannelPosition.objects.filter(channel=channel, caught_up_to__lt=until).update(caught_up_to=until)


def not_yet_stored(channel: str, messages: list[Received]) -> list[Received]:
    """Return the messages that the inbox does not have, or has under the same id with different content."""
    pairs = [(message.message_id, message.payload) for message in messages]
    known = known_messages(EventSource.ABLY, channel, pairs)
    return [message for index, message in enumerate(messages) if index not in known]


def reach_and_gap(
    offset: ChannelPosition, oldest: datetime | None, newest_stored: datetime | None, now: datetime
) -> tuple[timedelta, Gap | None]:
    """Return how far back history is known to reach, and the period that it does not cover.

    `oldest` and `newest_stored` are the publication times of the oldest message in history and of the newest one in the
    inbox. `now` is the time by the clock of the service.
    """
    reach = max(timedelta(seconds=offset.history_reach_seconds), MIN_RETENTION)
    if newest_stored is not None and now - newest_stored < reach and (oldest is None or oldest > newest_stored):
        reach = MIN_RETENTION  # a message that should be there is gone: the retention was reduced
    if oldest is not None:
        reach = max(reach, now - oldest)
    if now - offset.caught_up_to <= reach:
        return reach, None
    return reach, Gap(offset.caught_up_to, oldest or now - reach)


def newest_stored(channel: str) -> datetime | None:
    """Return the publication time of the newest stored message that the channel itself delivered.

    Such messages have a serial; those of `publish_event` do not.
    """
    stored = StrategyEvent.objects.filter(source=EventSource.ABLY, channel=channel).exclude(serial="")
    return stored.order_by("-published_at").values_list("published_at", flat=True).first()
