"""What the listener knows of itself; its heartbeat tells it to everybody else."""

import os
import socket
from dataclasses import dataclass, field
from datetime import datetime

from django.utils import timezone

from trading.monitoring.listener_report import ChannelReport, ListenerReport

LISTENING, CONNECTING, WAITING, REFUSED = "listening", "connecting", "waiting", "key refused"


@dataclass
class Trouble:
    """A state, and since when it has not been as it should."""

    state: str = CONNECTING
    problem: str = ""
    since: datetime | None = field(default_factory=timezone.now)

    def is_now(self, state: str, problem: str = "", *, well: bool = False) -> None:
        """Notes the state; trouble begins once and lasts until all is well."""
        self.state, self.problem = state, problem
        self.since = None if well else self.since or timezone.now()


@dataclass
class ChannelStatus:
    """How one channel stands."""

    listener_health: Trouble = field(default_factory=Trouble)
    history_problem: str = ""
    history_since: datetime | None = None
    last_message_at: datetime | None = None
    last_catch_up_at: datetime | None = None
    maybe_lost: str = ""

    def history_is(self, problem: str) -> None:
        """Notes whether history can be read."""
        self.history_problem = problem
        self.history_since = (self.history_since or timezone.now()) if problem else None

    def report(self, name: str) -> ChannelReport:
        """The channel's part of the heartbeat."""
        since = [instant for instant in (self.listener_health.since, self.history_since) if instant is not None]
        return ChannelReport(
            name=name,
            state=self.listener_health.state,
            problem="; ".join(filter(None, (self.listener_health.problem, self.history_problem))),
            trouble_since=min(since, default=None),
            last_message_at=self.last_message_at,
            last_catch_up_at=self.last_catch_up_at,
            maybe_lost=self.maybe_lost,
        )


@dataclass
class Status:
    """How the process stands; it outlives the links."""

    connection: Trouble = field(default_factory=Trouble)
    channels: dict[str, ChannelStatus] = field(default_factory=dict)
    last_ping_at: datetime | None = None
    ping_ms: float | None = None
    lag_seconds: float | None = None
    rebuilds: int = 0

    @property
    def name(self) -> str:
        """The name of the heartbeat's row."""
        return f"listener:{socket.gethostname()}:{os.getpid()}"

    def of(self, channel: str) -> ChannelStatus:
        """The status of a channel."""
        return self.channels.setdefault(channel, ChannelStatus())

    def stored(self, channel: str, published_at: datetime, now: datetime) -> None:
        """Notes that a message is in the inbox."""
        self.of(channel).last_message_at = published_at
        self.lag_seconds = max(0.0, (now - published_at).total_seconds())

    def link_is_down(self, state: str, problem: str) -> None:
        """Nothing is heard on any channel."""
        self.connection.is_now(state, problem)
        for channel in self.channels.values():
            channel.listener_health.is_now(WAITING, problem)

    def report(self, waiting: int) -> ListenerReport:
        """The heartbeat."""
        return ListenerReport(
            host=socket.gethostname(),
            pid=os.getpid(),
            state=self.connection.state,
            problem=self.connection.problem,
            trouble_since=self.connection.since,
            last_ping_at=self.last_ping_at,
            ping_ms=self.ping_ms,
            lag_seconds=self.lag_seconds,
            waiting=waiting,
            rebuilds=self.rebuilds,
            channels=tuple(status.report(name) for name, status in sorted(self.channels.items())),
        )
