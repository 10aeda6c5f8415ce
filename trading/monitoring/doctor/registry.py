"""The checks of `doctor`. To add one, write a function that yields findings, and add it to `CHECKS`."""

import logging
from collections.abc import Callable, Iterator, Sequence

from trading.common.log_context import redact
from trading.monitoring.doctor import broker, installation, processing, services
from trading.monitoring.doctor.findings import Finding, problem

logger = logging.getLogger("rebalancer.trading")

CHECKS: dict[str, Callable[[], Iterator[Finding]]] = {
    "database": installation.database,
    "site": installation.site,
    "trading": processing.trading,
    "clock": installation.clock,
    "queue": processing.queue,
    "broker": broker.broker,
    "allocations": services.allocations,
    "listener": services.listener,
    "notifications": services.notifications,
    "calendar": installation.calendar,
    "schedule": processing.schedule,
}
"""Checks by name, in the order of output: a problem of an earlier check explains those of later ones."""


def examine(names: Sequence[str] = ()) -> list[Finding]:
    """Run the named checks, or all of them, and return their findings. Each check has a deadline of its own."""
    return [finding for name in names or CHECKS for finding in _run(name)]


def _run(name: str) -> list[Finding]:
    try:
        findings = list(CHECKS[name]())
    except Exception as error:  # entry point of a check: the others must still run
        logger.exception("The check %s failed with an unexpected error", name)
        message = redact(f"Unexpected error in this check: {type(error).__name__}: {error}")
        findings = [problem(message, "If the database works, this is a bug. See the log.")]
    return [finding if finding.check else finding.model_copy(update={"check": name}) for finding in findings]
