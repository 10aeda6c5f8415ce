"""How a listener stands, as it writes it into its heartbeat, and what to make of it."""

from datetime import datetime, timedelta

from pydantic import AwareDatetime

from trading.models.run_documents import TradingValue

STOPPED = "stopped"
"""The state of a listener that was told to stop; its row says so and is not judged."""
FRESH_SECONDS = 30.0
PATIENCE_SECONDS = 90.0
"""A trouble is cured, or at least seen, within this time; only what lasts longer counts as one."""


class ChannelReport(TradingValue):
    """One channel."""

    name: str
    state: str
    problem: str = ""
    trouble_since: AwareDatetime | None = None
    last_message_at: AwareDatetime | None = None
    last_catch_up_at: AwareDatetime | None = None
    maybe_lost: str = ""


class ListenerReport(TradingValue):
    """One listener process."""

    host: str
    pid: int
    state: str
    problem: str = ""
    trouble_since: AwareDatetime | None = None
    last_ping_at: AwareDatetime | None = None
    ping_ms: float | None = None
    lag_seconds: float | None = None
    waiting: int = 0
    rebuilds: int = 0
    channels: tuple[ChannelReport, ...] = ()

    def troubles(self, now: datetime) -> list[str]:
        """What has been amiss for too long, in sentences; none when every channel is heard."""
        patience = timedelta(seconds=PATIENCE_SECONDS)
        found = []
        if self.trouble_since is not None and now - self.trouble_since > patience:
            found.append(f"{self.state}: {self.problem or 'no connection'}")
        found += [
            f"channel {channel.name} is {channel.state}: {channel.problem or 'not heard'}"
            for channel in self.channels
            if channel.trouble_since is not None and now - channel.trouble_since > patience
        ]
        return found
