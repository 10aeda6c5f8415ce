"""Clocks: leases go by the database's, everything else by the host's."""

from trading.common.clock import MAX_SKEW_SECONDS, skew_seconds
from trading.monitoring.doctor.findings import Finding, ok, problem

CHECK = "clock"


def check() -> list[Finding]:
    """How far this host's clock is from the database's."""
    skew = skew_seconds()
    if skew is None:
        return [problem(CHECK, "There is no policy.", "Run `manage.py migrate`, and give one policy the default.")]
    words = f"This host's clock and the database's differ by {skew:.1f} s."
    if skew > MAX_SKEW_SECONDS:
        return [problem(CHECK, words, "Keep the clocks of all hosts by NTP; sessions and leases go by them.")]
    return [ok(CHECK, words)]
