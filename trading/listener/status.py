"""The status of the listener process, which its heartbeat reports."""

import os
import socket
from dataclasses import dataclass, field
from datetime import datetime

from django.utils import timezone

from trading.monitoring.listener_report import ChannelReport, ListenerReport

LISTENING, CONNECTING, WAITING, REFUSED = "listening", "connecting", "waiting", "key refused"
"""States of the connection. While a connection exists, the state of the SDK can appear instead."""
ATTACHED, DENIED, PUBLISH_ONLY = "attached", "denied", "attached, but the key may not subscribe"
"""States of a channel, besides those of the SDK."""


@dataclass
class Health:
    """A state, and the time since which it has been unhealthy."""

    state: str = CONNECTING
    problem: str = ""
    since: datetime | None = field(default_factory=timezone.now)

    def update(self, state: str, problem: str = "", *, healthy: bool = False) -> None:
        """Set the state. `since` is kept until the state is healthy again."""
        self.state, self.problem = state, problem
        self.since = None if healthy else self.since or timezone.now()


@dataclass
class ChannelStatus:
    """The status of one channel."""

    subscription: Health = field(default_factory=Health)
    history_problem: str = ""
    history_problem_since: datetime | None = None
    last_message_at: datetime | None = None
    last_catch_up_at: datetime | None = None
    gap: str = ""

    def set_history_problem(self, problem: str) -> None:
        """Set why history cannot be read; empty if it can."""
        self.history_problem = problem
        self.history_problem_since = (self.history_problem_since or timezone.now()) if problem else None

    def report(self, name: str) -> ChannelReport:
        """Return the channel's part of the heartbeat."""
        since = [time for time in (self.subscription.since, self.history_problem_since) if time is not None]
        return ChannelReport(
            name=name,
            state=self.subscription.state,
            problem="; ".join(filter(None, (self.subscription.problem, self.history_problem))),
            problem_since=min(since, default=None),
            last_message_at=self.last_message_at,
            last_catch_up_at=self.last_catch_up_at,
            gap=self.gap,
        )


@dataclass
class Status:
    """The status of the process, across all of its connections."""

    connection: Health = field(default_factory=Health)
    channels: dict[str, ChannelStatus] = field(default_factory=dict)
    last_ping_at: datetime | None = None
    ping_ms: float | None = None
    lag_seconds: float | None = None
    rebuilds: int = 0

    @property
    def name(self) -> str:
        """The name of the heartbeat's row."""
        return f"listener:{socket.gethostname()}:{os.getpid()}"

    def channel(self, name: str) -> ChannelStatus:
        """Return the status of a channel, and create it if necessary."""
        return self.channels.setdefault(name, ChannelStatus())

    def record_stored(self, channel: str, published_at: datetime, now: datetime) -> None:
        """Record that a message is in the inbox."""
        self.channel(channel).last_message_at = published_at
        self.lag_seconds = max(0.0, (now - published_at).total_seconds())

    def set_disconnected(self, state: str, problem: str) -> None:
        """Set the connection's state, and mark every channel as waiting for a connection."""
        self.connection.update(state, problem)
        for channel in self.channels.values():
            channel.subscription.update(WAITING, problem)

    def report(self, waiting: int) -> ListenerReport:
        """Return the heartbeat; `waiting` is the number of messages that are not stored yet."""
        return ListenerReport(
            host=socket.gethostname(),
            pid=os.getpid(),
            state=self.connection.state,
            problem=self.connection.problem,
            problem_since=self.connection.since,
            last_ping_at=self.last_ping_at,
            ping_ms=self.ping_ms,
            lag_seconds=self.lag_seconds,
            waiting=waiting,
            rebuilds=self.rebuilds,
            channels=tuple(status.report(name) for name, status in sorted(self.channels.items())),
        )
