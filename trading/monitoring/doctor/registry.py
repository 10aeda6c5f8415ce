"""Which checks there are. A new one is a module with `check()` and a line here."""

import logging
from collections.abc import Callable, Sequence
from importlib import import_module

from trading.common.log_context import redact
from trading.monitoring.doctor.findings import Finding, problem

logger = logging.getLogger("rebalancer.trading")

CHECKS = {
    "database": "trading.monitoring.doctor.database",
    "site": "trading.monitoring.doctor.site",
    "trading": "trading.monitoring.doctor.control",
    "clock": "trading.monitoring.doctor.clock",
    "queue": "trading.monitoring.doctor.queue",
    "broker": "trading.monitoring.doctor.broker",
    "allocations": "trading.monitoring.doctor.allocations",
    "listener": "trading.monitoring.doctor.listener",
    "notifications": "trading.monitoring.doctor.notifications",
    "calendar": "trading.monitoring.doctor.calendar",
    "schedule": "trading.monitoring.doctor.schedule",
}
"""By name, in the order in which they are told: the earlier ones explain the later ones."""


def examine(names: Sequence[str] = ()) -> list[Finding]:
    """What the checks found; all of them when none is named. Each ends within a deadline of its own."""
    return [finding for name in names or CHECKS for finding in _run(name)]


def _run(name: str) -> list[Finding]:
    check: Callable[[], list[Finding]] = import_module(CHECKS[name]).check
    try:
        return check()
    except Exception as error:  # the door of a check: the others still have something to say
        logger.exception("The check %s broke", name)
        words = redact(f"The check broke: {type(error).__name__}: {error}")
        return [problem(name, words, "If the database is well, this is a bug: the log has the details.")]
