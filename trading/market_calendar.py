"""The calendar of this installation: an exchange's sessions, or one that never closes, for rehearsals."""

from datetime import date, datetime, time, timedelta
from typing import Protocol

from django.conf import settings

from brokers.exchange_calendar import NEW_YORK, ExchangeCalendar, Session

ALWAYS_OPEN = "always_open"


class MarketCalendar(Protocol):
    """What the guards ask of a calendar."""

    def session_of(self, instant: datetime) -> Session:
        """The session in which an order of this instant executes: the one that is open, else the next."""

    def session_after(self, day: date) -> Session:
        """The first session of a later day."""

    def session_before(self, day: date) -> Session:
        """The last session of an earlier day."""


class AlwaysOpenCalendar:
    """A session every day from midnight to midnight in New York, for rehearsals on paper."""

    def session_of(self, instant: datetime) -> Session:
        """The session of the instant's day."""
        return self._session(instant.astimezone(NEW_YORK).date())

    def session_after(self, day: date) -> Session:
        """The session of the day after."""
        return self._session(day + timedelta(days=1))

    def session_before(self, day: date) -> Session:
        """The session of the day before."""
        return self._session(day - timedelta(days=1))

    @staticmethod
    def _session(day: date) -> Session:
        midnight = datetime.combine(day, time(), NEW_YORK)
        return Session(day, midnight, datetime.combine(day + timedelta(days=1), time(), NEW_YORK))


def never_closes(calendar: MarketCalendar) -> bool:
    """Whether it is the calendar of rehearsals, which no exchange keeps to."""
    return isinstance(calendar, AlwaysOpenCalendar)


def market_calendar() -> MarketCalendar:
    """The calendar of this installation."""
    if settings.MARKET_CALENDAR == ALWAYS_OPEN:
        return AlwaysOpenCalendar()
    return ExchangeCalendar(settings.MARKET_CALENDAR)
