"""Bounded text for messages: input can contain a symbol of any length, and any number of them."""

from collections.abc import Iterable

LONGEST, MOST = 32, 10
"""Maximum characters of a name in a message, and maximum number of names."""


def clipped(text: object, longest: int = LONGEST) -> str:
    """Return the text, cut after `longest` characters."""
    whole = str(text)
    return whole if len(whole) <= longest else f"{whole[:longest]}…"


def listed(names: Iterable[object]) -> str:
    """Return the names, separated by commas; the first few, and how many more there are."""
    all_names = list(names)
    shown = ", ".join([clipped(name) for name in all_names[:MOST]])
    more = len(all_names) - MOST
    return f"{shown} and {more} more" if more > 0 else shown
