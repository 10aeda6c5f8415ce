"""The finding of a check."""

from enum import StrEnum

from trading.models.run_documents import TradingValue


class Status(StrEnum):
    """The status of what was checked."""

    OK = "ok"
    OFF = "off"  # not configured, or switched off; not a problem
    PROBLEM = "problem"


class Finding(TradingValue):
    """A sentence about one thing and, for a problem, what to do. `check` is the name of the check by default."""

    check: str = ""
    status: Status
    message: str
    to_do: str = ""


def ok(message: str, check: str = "") -> Finding:
    """Return a finding for something that works."""
    return Finding(check=check, status=Status.OK, message=message)


def off(message: str) -> Finding:
    """Return a finding for something that is not configured or switched off."""
    return Finding(status=Status.OFF, message=message)


def problem(message: str, to_do: str, check: str = "") -> Finding:
    """Return a finding for something that does not work."""
    return Finding(check=check, status=Status.PROBLEM, message=message, to_do=to_do)
