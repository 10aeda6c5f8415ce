"""Evaluate observations of a connection, and decide when it is replaced. Pure: the caller observes and acts."""

from dataclasses import dataclass

from trading.listener.config import Timing

MAX_RECONNECTS = 6
"""Maximum number of reconnects within `Timing.unhealthy`. More mean that the client cannot recover by reconnecting."""


@dataclass(frozen=True)
class Observation:
    """The state of a connection at one instant.

    `unattached` and `behind` name the channels that are not attached, or have no recent catch-up. `stale_reason` states
    why the connection is known to miss messages.
    """

    connection: str
    ping_problem: str = ""
    unattached: tuple[str, ...] = ()
    behind: tuple[str, ...] = ()
    reconnects: int = 0
    stale_reason: str = ""


@dataclass(frozen=True)
class Verdict:
    """The problem of a connection, and whether the connection must be replaced."""

    problem: str = ""
    rebuild: bool = False

    @property
    def is_healthy(self) -> bool:
        """Whether there is no problem."""
        return not self.problem


class Watchdog:
    """Tracks how long a connection has been unhealthy."""

    def __init__(self, timing: Timing) -> None:
        self._timing = timing
        self._unhealthy_since: float | None = None
        self._state_since: tuple[str, float] | None = None

    def evaluate(self, observed: Observation, now: float) -> Verdict:
        """Return the verdict on an observation, given those before it; `now` is in seconds of a monotonic clock."""
        if self._state_since is None or self._state_since[0] != observed.connection:
            self._state_since = (observed.connection, now)
        problem = _problem(observed)
        if not problem:
            self._unhealthy_since = None
            return Verdict()
        if self._unhealthy_since is None:
            self._unhealthy_since = now
        if observed.stale_reason or observed.connection in {"failed", "closed"} or observed.reconnects > MAX_RECONNECTS:
            return Verdict(problem, rebuild=True)
        if observed.connection == "suspended":
            return Verdict(problem, rebuild=now - self._state_since[1] >= self._timing.suspended)
        return Verdict(problem, rebuild=now - self._unhealthy_since >= self._timing.unhealthy)


def _problem(observed: Observation) -> str:
    """Return the first problem, which explains those after it."""
    sentences = (
        observed.stale_reason,
        f"the connection is {observed.connection}" if observed.connection != "connected" else "",
        f"the connection broke {observed.reconnects} times" if observed.reconnects > MAX_RECONNECTS else "",
        f"the connection does not respond: {observed.ping_problem}" if observed.ping_problem else "",
        f"not attached: {', '.join(observed.unattached)}" if observed.unattached else "",
        f"no recent catch-up: {', '.join(observed.behind)}" if observed.behind else "",
    )
    return next(filter(None, sentences), "")
