"""Parser of a contract's trading hours: a list of days, each with its hours or CLOSED.

Two formats are in use: `20261125:0930-20261125:1600;20261126:CLOSED`, and an older one without a date at the end and
with several spans per day: `20261125:0930-1200,1300-1600;20261126:CLOSED`.
Source: the TWS API's ContractDetails (tradingHours, liquidHours, timeZoneId).
"""

import re
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from ib_async import ContractDetails

from brokers.broker_types import ExchangeDay
from brokers.ibkr.times import zone_of

_DAY, _TIME = r"\d{8}", r"(?:[01]\d|2[0-3])[0-5]\d|2400"
_SPAN = rf"(?:{_DAY}:)?(?:{_TIME})-(?:{_DAY}:)?(?:{_TIME})"
_ENTRY = rf"{_DAY}:(?:CLOSED|{_SPAN}(?:,{_SPAN})*)"
_PATTERN = re.compile(rf"(?:{_ENTRY}(?:;{_ENTRY})*;?)?", re.ASCII)
_MAX_LENGTH = 4000


def liquid_hours(details: ContractDetails) -> tuple[ExchangeDay, ...]:
    """Return the regular trading hours of a contract.

    Raises:
        ValueError: The text has an unknown format.
    """
    text = details.liquidHours
    if len(text) > _MAX_LENGTH or not _PATTERN.fullmatch(text):
        message = f"they do not match the pattern of days and hours: {text[:100]!r}"
        raise ValueError(message)
    if not text:
        return ()
    zone = zone_of(details.timeZoneId)
    hours: dict[date, list[tuple[datetime, datetime]]] = {}
    for entry in filter(None, text.split(";")):
        day, _, spans = entry.partition(":")
        found = hours.setdefault(_date(day), [])
        if spans != "CLOSED":
            found += [_span(day, span, zone) for span in spans.split(",")]
    return tuple(ExchangeDay(day=day, hours=tuple(spans)) for day, spans in sorted(hours.items()))


def _span(day: str, text: str, zone: ZoneInfo) -> tuple[datetime, datetime]:
    start, end = text.split("-")
    opens_at, closes_at = _instant(day, start, zone), _instant(day, end, zone)
    if closes_at <= opens_at and ":" not in end:
        closes_at = _instant(day, end, zone, days_later=1)  # past midnight
    if closes_at <= opens_at:
        message = f"the hours end before they start: {text}"
        raise ValueError(message)
    return opens_at, closes_at


def _instant(day: str, text: str, zone: ZoneInfo, days_later: int = 0) -> datetime:
    own_day, _, clock = text.rpartition(":")
    at = datetime.combine(_date(own_day or day), datetime.min.time(), zone)
    minutes = int(clock[:2]) * 60 + int(clock[2:])
    # In local time, as exchanges define their hours.
    return at + timedelta(days=days_later, minutes=minutes)


def _date(text: str) -> date:
    return date(int(text[:4]), int(text[4:6]), int(text[6:]))
