"""Parser of the broker's times, whose form depends on the gateway's settings and its version.

Forms: `20261130 15:20:14 US/Eastern` (the zone of the gateway or of the instrument), `20261130-20:20:14` (UTC), and
`20261130 15:20:14` (older gateways: the zone of the gateway, which the text does not name).
Source: the TWS API's date and time formats, and captures of gateways with each setting.
"""

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

ZONES = {
    "EST": "America/New_York",
    "EDT": "America/New_York",
    "EST5EDT": "America/New_York",
    "CST": "America/Chicago",
    "CDT": "America/Chicago",
    "MST": "America/Denver",
    "MDT": "America/Denver",
    "PST": "America/Los_Angeles",
    "PDT": "America/Los_Angeles",
    "BST": "Europe/London",
    "MET": "Europe/Paris",
    "CET": "Europe/Paris",
    "CEST": "Europe/Paris",
    "JST": "Asia/Tokyo",
    "HKT": "Asia/Hong_Kong",
}
"""Abbreviations that the broker uses. The time zone database lacks them, or has them without daylight saving time."""

CLOCK_TOLERANCE = timedelta(minutes=5)
"""Difference of clocks up to which a time ahead of this host's clock counts as now."""

_TIME = re.compile(r"(\d{8})(-| +)(\d\d:\d\d:\d\d)(?: +(\S.*))?", re.ASCII)


def zone_of(name: str) -> ZoneInfo:
    """Return the time zone of a name or abbreviation, such as `US/Eastern` or `EST (Eastern Standard Time)`.

    Raises:
        ValueError: No zone has the name.
    """
    key = name.split(" ", maxsplit=1)[0]
    try:
        return ZoneInfo(ZONES.get(key, key))
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        message = f"unknown time zone: {name[:100]!r}"
        raise ValueError(message) from error


def parse_time(text: str, default_zone: str = "") -> datetime:
    """Return the instant of a time in any of the broker's forms.

    Args:
        text: The time as received.
        default_zone: Zone of a time that names none.

    Raises:
        ValueError: The form or the zone is unknown, or the time names no zone and there is no default.
    """
    match = _TIME.fullmatch(text.strip())
    if match is None:
        message = f"unknown form of a time: {text[:100]!r}"
        raise ValueError(message)
    day, separator, clock, zone = match.groups()
    local = datetime.strptime(f"{day} {clock}", "%Y%m%d %H:%M:%S")  # noqa: DTZ007 - the zone is added below
    if separator == "-" and not zone:
        return local.replace(tzinfo=UTC)
    name = zone or default_zone
    if not name:
        message = f"the time {text!r} names no zone. Set IB_TIME_ZONE to the gateway's time zone"
        raise ValueError(message)
    return local.replace(tzinfo=zone_of(name)).astimezone(UTC)


def parse_execution_time(text: str, now: datetime, default_zone: str = "") -> datetime:
    """Return when an execution happened, which is never after now.

    Raises:
        ValueError: The time cannot be read, or lies so far ahead that its zone or a clock must be wrong.
    """
    at = parse_time(text, default_zone)
    if at > now + CLOCK_TOLERANCE:
        message = (
            f"the time {text!r} is {(at - now).total_seconds() / 3600:.1f} hours ahead. The gateway's time zone or "
            "the clock of this host is wrong"
        )
        raise ValueError(message)
    return min(at, now)
