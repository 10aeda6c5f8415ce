"""The time at which scheduled accounts start: `MARKET_OPEN_TIME` of a session, never before the session opens."""

from dataclasses import dataclass
from datetime import date, datetime

from django.conf import settings

from trading.market_calendar import MarketCalendar


@dataclass(frozen=True)
class Open:
    """The start of scheduled accounts in one session."""

    session_date: date
    due_at: datetime


def next_open(now: datetime, calendar: MarketCalendar) -> Open:
    """Return the first start after `now`."""
    session = calendar.session_of(now)
    while (due_at := session.resume_at(settings.MARKET_OPEN_TIME)) <= now:
        session = calendar.session_after(session.day)
    return Open(session.day, due_at)


def open_after(day: date, calendar: MarketCalendar) -> Open:
    """Return the start in the first session after a day."""
    session = calendar.session_after(day)
    return Open(session.day, session.resume_at(settings.MARKET_OPEN_TIME))
