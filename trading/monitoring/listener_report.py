"""The report that a listener writes into its heartbeat, and its evaluation."""

from datetime import datetime, timedelta

from pydantic import AwareDatetime

from trading.models.run_documents import TradingValue

STOPPED = "stopped"
"""State of a listener that was stopped on request. Its heartbeat is not evaluated."""
MAX_AGE_SECONDS = 30.0
"""Maximum age of a heartbeat, in seconds."""
PROBLEM_AFTER = timedelta(seconds=90)
"""Time after which a problem is reported. Most are resolved earlier; a refusal of the service is reported at once."""


class ChannelReport(TradingValue):
    """The status of one channel."""

    name: str
    state: str
    problem: str = ""
    problem_since: AwareDatetime | None = None
    refused: bool = False
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
    refused: bool = False
    last_ping_at: AwareDatetime | None = None
    ping_ms: float | None = None
    lag_seconds: float | None = None
    waiting: int = 0
    rebuilds: int = 0
    channels: tuple[ChannelReport, ...] = ()

    def problems(self, now: datetime) -> list[str]:
        """Return a sentence for each problem that has lasted longer than `PROBLEM_AFTER` or cannot resolve itself."""
        found = []
        if _is_reported(self, now):
            found.append(f"{self.state}: {self.problem or 'no connection'}")
        found += [
            f"channel {channel.name} is {channel.state}: {channel.problem or 'not receiving messages'}"
            for channel in self.channels
            if _is_reported(channel, now)
        ]
        return found


def _is_reported(part: ChannelReport | ListenerReport, now: datetime) -> bool:
    return part.problem_since is not None and (part.refused or now - part.problem_since > PROBLEM_AFTER)
