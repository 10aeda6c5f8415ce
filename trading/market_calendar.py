"""The market calendar of this installation: the sessions of an exchange, or an always-open calendar for tests."""

from datetime import date, datetime, time, timedelta

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
    if settings.MARKET_CALENDAR == ALWAYS_OPEN:
        return AlwaysOpenCalendar()
    return ExchangeCalendar(settings.MARKET_CALENDAR)
