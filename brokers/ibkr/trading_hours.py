"""Parser of a contract's trading hours: a list of days, each with its hours or CLOSED.

Two formats are in use: `20261125:0930-20261125:1600;20261126:CLOSED`, and an older one without a date at the end and
with several spans per day: `20261125:0930-1200,1300-1600;20261126:CLOSED`.
Source: the TWS API's ContractDetails (tradingHours, liquidHours, timeZoneId).
"""

from datetime import date, datetime, timedelta
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ib_async import ContractDetails
from pydantic import BaseModel, ConfigDict, StringConstraints, model_validator

from brokers.broker_types import ExchangeDay

_DAY, _TIME = r"\d{8}", r"(?:[01]\d|2[0-3])[0-5]\d|2400"
_SPAN = rf"(?:{_DAY}:)?(?:{_TIME})-(?:{_DAY}:)?(?:{_TIME})"
_ENTRY = rf"{_DAY}:(?:CLOSED|{_SPAN}(?:,{_SPAN})*)"
HoursText = Annotated[str, StringConstraints(pattern=rf"^(?:{_ENTRY}(?:;{_ENTRY})*;?)?$", max_length=4000)]

ZONES = {"EST": "America/New_York", "EST5EDT": "America/New_York", "CST": "America/Chicago", "MET": "Europe/Paris"}
"""Abbreviations that the broker uses. In the time zone database they have no daylight saving time."""


class ContractHours(BaseModel):
    """The trading hours of one contract.

    Raises:
        ValidationError: The text has an unknown format.
    """

    model_config = ConfigDict(frozen=True)

    time_zone_id: str = ""
    trading_hours: HoursText = ""
    liquid_hours: HoursText = ""

    @classmethod
    def of(cls, details: ContractDetails) -> "ContractHours":
        """Return the hours in a contract's details."""
        return cls(
            time_zone_id=details.timeZoneId, trading_hours=details.tradingHours, liquid_hours=details.liquidHours
        )

    @model_validator(mode="after")
    def _check_format(self) -> "ContractHours":
        _ = self.trading, self.liquid
        return self

    @property
    def trading(self) -> tuple[ExchangeDay, ...]:
        """Return the hours in which orders can execute, including pre-market and after-hours."""
        return self._days(self.trading_hours)

    @property
    def liquid(self) -> tuple[ExchangeDay, ...]:
        """Return the regular trading hours."""
        return self._days(self.liquid_hours)

    def _days(self, text: str) -> tuple[ExchangeDay, ...]:
        if not text:
            return ()
        zone = _zone(self.time_zone_id)
        hours: dict[date, list[tuple[datetime, datetime]]] = {}
        for entry in filter(None, text.split(";")):
            day, _, spans = entry.partition(":")
            found = hours.setdefault(_date(day), [])
            if spans != "CLOSED":
                found += [_span(day, span, zone) for span in spans.split(",")]
        return tuple(ExchangeDay(day=day, hours=tuple(spans)) for day, spans in sorted(hours.items()))


def _zone(name: str) -> ZoneInfo:
    key = name.split(" ", maxsplit=1)[0]  # "EST (Eastern Standard Time)"
    try:
        return ZoneInfo(ZONES.get(key, key))
    except (ZoneInfoNotFoundError, ValueError) as error:
        message = f"unknown time zone: {name!r}"
        raise ValueError(message) from error


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
