"""When scheduled accounts start: at a New York time, on real sessions, never before the open."""

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
    """The first start that is still to come."""
    session = calendar.session_of(now)
    while (due_at := session.resume_at(settings.MARKET_OPEN_TIME)) <= now:
        session = calendar.session_after(session.day)
    return Open(session.day, due_at)


def open_after(day: date, calendar: MarketCalendar) -> Open:
    """The start of the first session of a later day."""
    session = calendar.session_after(day)
    return Open(session.day, session.resume_at(settings.MARKET_OPEN_TIME))
