"""The exchange's calendar."""

from django.conf import settings
from django.utils import timezone

from brokers.exchange_calendar import NEW_YORK
from trading.market_calendar import market_calendar
from trading.monitoring.doctor.findings import Finding, ok, problem

CHECK = "calendar"
FORM = "%a %d %b %Y %H:%M"


def check() -> list[Finding]:
    """The session of now, or the next."""
    try:
        session = market_calendar().session_of(timezone.now())
    except Exception as error:  # noqa: BLE001 - the library raises what it likes for a calendar it lacks
        words = f"The calendar {settings.MARKET_CALENDAR!r} cannot be used: {error}"
        return [problem(CHECK, words, "Set MARKET_CALENDAR to a code of exchange-calendars, such as XNYS.")]
    opens, closes = (moment.astimezone(NEW_YORK).strftime(FORM) for moment in (session.opens_at, session.closes_at))
    word = "is open" if session.opens_at <= timezone.now() else "opens"
    return [ok(CHECK, f"{settings.MARKET_CALENDAR}: the session {word}; {opens} to {closes} New York.")]
