"""Judges a link by what can be seen of it. Pure: the watchdog looks, this decides."""

from dataclasses import dataclass

from trading.listener.config import Timing

FLAPS = 6
"""More reconnects than this within `bad` seconds come from something that the client cannot get over."""


@dataclass(frozen=True)
class Observation:
    """A link at one instant."""

    connection: str
    ping_problem: str = ""
    unattached: tuple[str, ...] = ()
    stale: tuple[str, ...] = ()
    reconnects: int = 0
    deaf: str = ""


@dataclass(frozen=True)
class Verdict:
    """What is to be done."""

    problem: str = ""
    rebuild: bool = False

    @property
    def is_healthy(self) -> bool:
        """Whether nothing is amiss."""
        return not self.problem


class Watch:
    """Remembers for how long something has been amiss."""

    def __init__(self, timing: Timing) -> None:
        self._timing = timing
        self._bad_since: float | None = None
        self._state_since: tuple[str, float] | None = None

    def judge(self, seen: Observation, now: float) -> Verdict:
        """What an observation means after those before it; `now` by any clock that only grows."""
        if self._state_since is None or self._state_since[0] != seen.connection:
            self._state_since = (seen.connection, now)
        problem = _problem(seen)
        if not problem:
            self._bad_since = None
            return Verdict()
        if self._bad_since is None:
            self._bad_since = now
        patience = self._timing.suspended if seen.connection == "suspended" else self._timing.bad
        since = self._state_since[1] if seen.connection == "suspended" else self._bad_since
        at_once = seen.deaf or seen.connection in {"failed", "closed"} or seen.reconnects > FLAPS
        return Verdict(problem, rebuild=bool(at_once) or now - since >= patience)


def _problem(seen: Observation) -> str:
    """The first thing that is amiss, the one that explains the others."""
    sentences = (
        seen.deaf,
        f"the connection is {seen.connection}" if seen.connection != "connected" else "",
        f"the connection broke {seen.reconnects} times in a short while" if seen.reconnects > FLAPS else "",
        f"the connection does not answer: {seen.ping_problem}" if seen.ping_problem else "",
        f"not attached: {', '.join(seen.unattached)}" if seen.unattached else "",
        f"no catch-up for too long: {', '.join(seen.stale)}" if seen.stale else "",
    )
    return next(filter(None, sentences), "")
