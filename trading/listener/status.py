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
    problem_since: datetime | None = field(default_factory=timezone.now)
    refused: bool = False

    def update(self, state: str, problem: str = "", *, healthy: bool = False, refused: bool = False) -> None:
        """Set the state. `problem_since` is kept until the state is healthy again.

        `refused`: the service rejects the key, which waiting does not change.
        """
        self.state, self.problem, self.refused = state, problem, refused
        self.problem_since = None if healthy else self.problem_since or timezone.now()


@dataclass
class ChannelStatus:
    """The status of one channel: its subscription, and whether its history can be read."""

    subscription: Health = field(default_factory=Health)
    history: Health = field(default_factory=lambda: Health(problem_since=None))
    last_message_at: datetime | None = None
    last_catch_up_at: datetime | None = None
    gap: str = ""

    def report(self, name: str) -> ChannelReport:
        """Return the channel's part of the heartbeat."""
        parts = self.subscription, self.history
        return ChannelReport(
            name=name,
            state=self.subscription.state,
            problem="; ".join(part.problem for part in parts if part.problem),
            problem_since=min((part.problem_since for part in parts if part.problem_since), default=None),
            refused=any(part.refused for part in parts),
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

    def set_disconnected(self, state: str, problem: str, *, refused: bool = False) -> None:
        """Set the connection's state, and mark every channel as waiting for a connection."""
        self.connection.update(state, problem, refused=refused)
        for channel in self.channels.values():
            channel.subscription.update(WAITING, problem)

    def report(self, waiting: int) -> ListenerReport:
        """Return the heartbeat; `waiting` is the number of messages that are not stored yet."""
        return ListenerReport(
            host=socket.gethostname(),
            pid=os.getpid(),
            **vars(self.connection),
            last_ping_at=self.last_ping_at,
            ping_ms=self.ping_ms,
            lag_seconds=self.lag_seconds,
            waiting=waiting,
            rebuilds=self.rebuilds,
            channels=tuple(status.report(name) for name, status in sorted(self.channels.items())),
        )
