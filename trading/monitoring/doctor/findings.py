"""What a check found."""

from enum import StrEnum

from trading.models.run_documents import TradingValue


class Status(StrEnum):
    """How it stands."""

    OK = "ok"
    OFF = "off"  # not configured, and nothing needs it
    PROBLEM = "problem"


class Finding(TradingValue):
    """One sentence about one thing, and for a problem what to do."""

    check: str
    status: Status
    message: str
    to_do: str = ""


def ok(check: str, message: str) -> Finding:
    """It works."""
    return Finding(check=check, status=Status.OK, message=message)


def off(check: str, message: str) -> Finding:
    """It is not used here."""
    return Finding(check=check, status=Status.OFF, message=message)


def problem(check: str, message: str, to_do: str) -> Finding:
    """It does not work."""
    return Finding(check=check, status=Status.PROBLEM, message=message, to_do=to_do)
