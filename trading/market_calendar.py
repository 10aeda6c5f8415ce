"""The market calendar of this installation: the sessions of an exchange, or an always-open calendar for tests."""

from datetime import date, datetime, time, timedelta
from functools import lru_cache

from django.conf import settings

from brokers.exchange_calendar import NEW_YORK, ExchangeCalendar, Session

ALWAYS_OPEN = "always_open"


class AlwaysOpenCalendar:
    """A session every day from midnight to midnight in New York, for paper accounts only."""

    def session_of(self, instant: datetime) -> Session:
        """Return the session of the instant's day."""
        return self._session(instant.astimezone(NEW_YORK).date())

    def session_after(self, day: date) -> Session:
        """Return the session of the next day."""
        return self._session(day + timedelta(days=1))

    def session_before(self, day: date) -> Session:
        """Return the session of the previous day."""
        return self._session(day - timedelta(days=1))

    @staticmethod
    def _session(day: date) -> Session:
        midnight, next_midnight = (datetime.combine(day + timedelta(days=days), time(), NEW_YORK) for days in (0, 1))
        return Session(day, midnight, next_midnight)


MarketCalendar = ExchangeCalendar | AlwaysOpenCalendar


def never_closes(calendar: MarketCalendar) -> bool:
    """Return whether it is the always-open calendar, which no exchange follows."""
    return isinstance(calendar, AlwaysOpenCalendar)


def market_calendar() -> MarketCalendar:
    """Return the market calendar of this installation."""
    return _calendar(settings.MARKET_CALENDAR)


def session_days(first: date, before: date) -> tuple[date, ...]:
    """Return the days with a session, from `first` to the day before `before`."""
    return _session_days(settings.MARKET_CALENDAR, first, before)


def _calendar(code: str) -> MarketCalendar:
    return AlwaysOpenCalendar() if code == ALWAYS_OPEN else ExchangeCalendar(code)


@lru_cache(maxsize=16)
def _session_days(code: str, first: date, before: date) -> tuple[date, ...]:
    calendar = _calendar(code)
    days, day = [], first - timedelta(days=1)
    while (day := calendar.session_after(day).day) < before:
        days.append(day)
    return tuple(days)
