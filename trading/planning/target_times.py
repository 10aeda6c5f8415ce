"""Read when published targets last changed, in the forms that services write times."""

import re
from contextlib import suppress
from datetime import UTC, date, datetime, time
from decimal import Decimal
from email.utils import parsedate_to_datetime

ZERO_TIME = re.compile(r"0001-01-01(T00:00:00(\.0+)?(Z|\+00:00)?)?")
"""Time that languages without a null for times write for "never"."""
PLAUSIBLE_YEARS = range(2000, 2100)
_MAIL_DATE = re.compile(r"([A-Z][a-z]{2}, )?\d{1,2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}(:\d{2})? \S{1,6}")  # RFC 1123
_EPOCH = re.compile(r"\d{9,16}(\.\d+)?")
_MILLISECONDS_FROM = 10**11


def means_never(value: object) -> bool:
    """Return whether a value states that there is no time."""
    return value is None or (isinstance(value, str) and ZERO_TIME.fullmatch(value.strip()) is not None)


def read_time(value: object) -> datetime | None:
    """Return the time of a value, or None if it is not readable or not plausible.

    Without a zone it is UTC; a date is the end of its day. Numbers are seconds or milliseconds since 1970.
    """
    found = None
    with suppress(ValueError, OverflowError, ArithmeticError, OSError):
        found = _read(str(value).strip()) if isinstance(value, str | int | Decimal) else None
    return found if found and found.year in PLAUSIBLE_YEARS else None


def _read(text: str) -> datetime:
    if _EPOCH.fullmatch(text):
        number = float(text)
        return datetime.fromtimestamp(number / 1000 if number >= _MILLISECONDS_FROM else number, UTC)
    if _MAIL_DATE.fullmatch(text):
        return _in_utc(parsedate_to_datetime(text))
    with suppress(ValueError):
        return datetime.combine(date.fromisoformat(text), time.max, UTC)
    return _in_utc(datetime.fromisoformat(text))


def _in_utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
