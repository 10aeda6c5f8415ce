"""Dates, times and durations as text, in one form on pages, in messages and in commands.

An instant in a text is New York time and has its name, because a text cannot know its reader's time zone. Pages mark up
instants with the tag `timestamp`, which a script shows in the reader's time zone. JSON, CSV and logs use ISO 8601.
"""

from datetime import date, datetime, timedelta
from typing import Literal

from brokers.exchange_calendar import NEW_YORK

ZONE = "New York time"
JUST_NOW_SECONDS = 5

Layout = Literal["day", "minutes", "seconds", "clock"]
"""What an instant shows: 28 Nov 2026 · 28 Nov 2026, 09:30 · 28 Nov 2026, 09:30:08 · 09:30:08."""

_UNITS = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
_AGES = (("day", 86400), ("h", 3600), ("min", 60), ("s", 1))


def day_text(day: date, *, weekday: bool = False) -> str:
    """Return a date: 28 Nov 2026, or Sat 28 Nov 2026. An instant must be in the time zone that is meant."""
    text = f"{day.day} {day:%b %Y}"
    return f"{day:%a} {text}" if weekday else text


def instant_text(at: datetime, layout: Layout = "seconds", *, weekday: bool = False) -> str:
    """Return an instant in New York, without the name of the time zone: 28 Nov 2026, 09:30:08."""
    local = at.astimezone(NEW_YORK)
    if layout == "clock":
        return f"{local:%H:%M:%S}"
    day = day_text(local, weekday=weekday)
    return {"day": day, "minutes": f"{day}, {local:%H:%M}", "seconds": f"{day}, {local:%H:%M:%S}"}[layout]


def new_york_time(at: datetime, layout: Layout = "minutes") -> str:
    """Return an instant of the exchange's day, for a sentence: Mon 30 Nov 2026, 09:30 New York time."""
    return f"{instant_text(at, layout, weekday=layout == 'minutes')} {ZONE}"


def new_york_clock(at: datetime, *, seconds: bool = False) -> str:
    """Return a time of the exchange's day without the date: 09:30 New York time."""
    local = at.astimezone(NEW_YORK)
    return f"{local:%H:%M:%S} {ZONE}" if seconds else f"{local:%H:%M} {ZONE}"


def duration_text(duration: timedelta | float) -> str:
    """Return a duration (or a number of seconds) in its two largest units: 4 min 59 s, 1 h 5 min, 3 d 4 h."""
    rest = _whole_seconds(duration)
    for index, (unit, size) in enumerate(_UNITS):
        if rest >= size:
            first, rest = divmod(rest, size)
            second = rest // _UNITS[index + 1][1] if index + 1 < len(_UNITS) else 0
            return f"{first} {unit} {second} {_UNITS[index + 1][0]}" if second else f"{first} {unit}"
    return "0 s"


def age_text(age: timedelta | float) -> str:
    """Return how long ago something was, in its largest unit: just now, 12 s ago, 3 min ago, 2 days ago."""
    seconds = _whole_seconds(age)
    if seconds < JUST_NOW_SECONDS:
        return "just now"
    unit, size = next((unit, size) for unit, size in _AGES if seconds >= size)
    count = seconds // size
    return f"{count} {unit}{'s' if unit == 'day' and count > 1 else ''} ago"


def _whole_seconds(duration: timedelta | float) -> int:
    return max(int(duration.total_seconds() if isinstance(duration, timedelta) else duration), 0)


def counted(number: int, thing: str) -> str:
    """Return a number of things: 1 order, 2 orders."""
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"
