"""The report that a listener writes into its heartbeat, and its evaluation."""

from datetime import datetime, timedelta

from pydantic import AwareDatetime

from trading.models.run_documents import TradingValue

STOPPED = "stopped"
"""State of a listener that was stopped on request. Its heartbeat is not evaluated."""
MAX_AGE_SECONDS = 30.0
"""Maximum age of a heartbeat, in seconds."""
PROBLEM_AFTER = timedelta(seconds=90)
"""Time after which a problem is reported. Most are resolved earlier."""


class ChannelReport(TradingValue):
    """The status of one channel."""

    name: str
    state: str
    problem: str = ""
    problem_since: AwareDatetime | None = None
    last_message_at: AwareDatetime | None = None
    last_catch_up_at: AwareDatetime | None = None
    gap: str = ""


class ListenerReport(TradingValue):
    """The status of one listener process."""

    host: str
    pid: int
    state: str
    problem: str = ""
    problem_since: AwareDatetime | None = None
    last_ping_at: AwareDatetime | None = None
    ping_ms: float | None = None
    lag_seconds: float | None = None
    waiting: int = 0
    rebuilds: int = 0
    channels: tuple[ChannelReport, ...] = ()

    def problems(self, now: datetime) -> list[str]:
        """Return a sentence for each problem that has lasted longer than `PROBLEM_AFTER`."""
        found = []
        if self.problem_since is not None and now - self.problem_since > PROBLEM_AFTER:
            found.append(f"{self.state}: {self.problem or 'no connection'}")
        found += [
            f"channel {channel.name} is {channel.state}: {channel.problem or 'not receiving messages'}"
            for channel in self.channels
            if channel.problem_since is not None and now - channel.problem_since > PROBLEM_AFTER
        ]
        return found
