"""The sessions of an exchange: holidays, early closes and daylight saving from exchange-calendars."""

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

NEW_YORK = ZoneInfo("America/New_York")


@dataclass(frozen=True)
class Session:
    """One trading day of the exchange."""

    day: date
    opens_at: datetime
    closes_at: datetime

    def resume_at(self, not_before: time) -> datetime:
        """Return when a run deferred to this session resumes: at a New York time, never before the open."""
        return max(self.opens_at, datetime.combine(self.day, not_before, NEW_YORK))

    def is_open_at(self, instant: datetime) -> bool:
        """Whether the instant is within the session."""
        return self.opens_at <= instant < self.closes_at


class ExchangeCalendar:
    """The sessions of an exchange, by its code in exchange-calendars."""

    def __init__(self, code: str) -> None:
        self.code = code

    def session_of(self, instant: datetime) -> Session:
        """Return the session in which an order of this instant executes: the open one, or else the next."""
        day = instant.astimezone(NEW_YORK).date() - timedelta(days=1)
        while (session := self.session_after(day)).closes_at <= instant:
            day = session.day
        return session

    def session_after(self, day: date) -> Session:
        """Return the first session after a day."""
        calendar = _exchange(self.code, day.year)
        return _session(calendar, calendar.date_to_session((day + timedelta(days=1)).isoformat(), direction="next"))

    def session_before(self, day: date) -> Session:
        """Return the last session before a day."""
        calendar = _exchange(self.code, day.year)
        return _session(calendar, calendar.date_to_session((day - timedelta(days=1)).isoformat(), direction="previous"))


def _session(calendar: Any, stamp: Any) -> Session:
    return Session(
        stamp.date(), calendar.session_open(stamp).to_pydatetime(), calendar.session_close(stamp).to_pydatetime()
    )


@cache
def _exchange(code: str, year: int):  # type: ignore[no-untyped-def]  # noqa: ANN202 - the library is untyped
    # The import takes a second, and most commands do not need it.
    import exchange_calendars  # noqa: PLC0415

    return exchange_calendars.get_calendar(code, start=f"{year - 1}-12-01", end=f"{year + 1}-03-01")
