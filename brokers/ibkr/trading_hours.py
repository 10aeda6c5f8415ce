"""When an exchange trades a contract, as the broker writes it: a list of days, each with its hours or CLOSED.

Two ways of writing are in use, and both are read: `20261125:0930-20261125:1600;20261126:CLOSED`, and the older one
without a date in the end, with several spans a day: `20261125:0930-1200,1300-1600;20261126:CLOSED`.
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
WireHours = Annotated[str, StringConstraints(pattern=rf"^(?:{_ENTRY}(?:;{_ENTRY})*;?)?$", max_length=4000)]

ZONES = {"EST": "America/New_York", "EST5EDT": "America/New_York", "CST": "America/Chicago", "MET": "Europe/Paris"}
"""Zones that the broker names by a short word, which in the database of zones knows no summer."""


class ContractHours(BaseModel):
    """The hours of one contract; `ValueError` for what is written in no known way."""

    model_config = ConfigDict(frozen=True)

    time_zone_id: str = ""
    trading_hours: WireHours = ""
    liquid_hours: WireHours = ""

    @classmethod
    def of(cls, details: ContractDetails) -> "ContractHours":
        """As they came."""
        return cls(
            time_zone_id=details.timeZoneId, trading_hours=details.tradingHours, liquid_hours=details.liquidHours
        )

    @model_validator(mode="after")
    def _can_be_read(self) -> "ContractHours":
        _ = self.trading, self.liquid
        return self

    @property
    def trading(self) -> tuple[ExchangeDay, ...]:
        """All hours in which orders can execute, those before and after the session included."""
        return self._days(self.trading_hours)

    @property
    def liquid(self) -> tuple[ExchangeDay, ...]:
        """The regular hours."""
        return self._days(self.liquid_hours)

    def _days(self, written: str) -> tuple[ExchangeDay, ...]:
        if not written:
            return ()
        zone = _zone(self.time_zone_id)
        hours: dict[date, list[tuple[datetime, datetime]]] = {}
        for entry in filter(None, written.split(";")):
            day, _, spans = entry.partition(":")
            found = hours.setdefault(_date(day), [])
            if spans != "CLOSED":
                found += [_span(day, span, zone) for span in spans.split(",")]
        return tuple(ExchangeDay(day=day, hours=tuple(spans)) for day, spans in sorted(hours.items()))


def _zone(name: str) -> ZoneInfo:
    word = name.split(" ", maxsplit=1)[0]  # "EST (Eastern Standard Time)"
    try:
        return ZoneInfo(ZONES.get(word, word))
    except (ZoneInfoNotFoundError, ValueError) as error:
        message = f"no such time zone: {name!r}"
        raise ValueError(message) from error


def _span(day: str, written: str, zone: ZoneInfo) -> tuple[datetime, datetime]:
    start, end = written.split("-")
    opens_at, closes_at = _instant(day, start, zone), _instant(day, end, zone)
    if closes_at <= opens_at and ":" not in end:
        closes_at = _instant(day, end, zone, days_later=1)  # over midnight
    if closes_at <= opens_at:
        message = f"hours that end before they begin: {written}"
        raise ValueError(message)
    return opens_at, closes_at


def _instant(day: str, written: str, zone: ZoneInfo, days_later: int = 0) -> datetime:
    own_day, _, clock = written.rpartition(":")
    at = datetime.combine(_date(own_day or day), datetime.min.time(), zone)
    minutes = int(clock[:2]) * 60 + int(clock[2:])
    # By the clock on the wall, as exchanges count.
    return at + timedelta(days=days_later, minutes=minutes)


def _date(written: str) -> date:
    return date(int(written[:4]), int(written[4:6]), int(written[6:]))
