"""The market calendar of this installation: the sessions of an exchange, or an always-open calendar for tests."""

from datetime import date, datetime, time, timedelta
from typing import Protocol

from django.conf import settings

from brokers.exchange_calendar import NEW_YORK, ExchangeCalendar, Session

ALWAYS_OPEN = "always_open"


class MarketCalendar(Protocol):
    """Sessions that the guards and the schedule need."""

    def session_of(self, instant: datetime) -> Session:
        """Return the session in which an order of this instant executes: the open one, or else the next."""

    def session_after(self, day: date) -> Session:
        """Return the first session of a later day."""

    def session_before(self, day: date) -> Session:
        """Return the last session of an earlier day."""


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
        midnight = datetime.combine(day, time(), NEW_YORK)
        return Session(day, midnight, datetime.combine(day + timedelta(days=1), time(), NEW_YORK))


def never_closes(calendar: MarketCalendar) -> bool:
    """Return whether it is the always-open calendar, which no exchange follows."""
    return isinstance(calendar, AlwaysOpenCalendar)


def market_calendar() -> MarketCalendar:
    """Return the market calendar of this installation."""
    if settings.MARKET_CALENDAR == ALWAYS_OPEN:
        return AlwaysOpenCalendar()
    return ExchangeCalendar(settings.MARKET_CALENDAR)
