"""Sentences about invalid input. What they repeat of the input is bounded: an input can have megabytes."""

from collections.abc import Iterable, Mapping
from typing import Any

MAX_QUOTED = 40
"""Maximum length of a repeated part of an input, in characters."""

_KINDS = {bool: "true or false", list: "a list", dict: "an object", float: "a number with decimals", type(None): "null"}


def quoted(value: object, limit: int = MAX_QUOTED) -> str:
    """Return the value in quotes, or its beginning with its length if it is long. Control characters are escaped."""
    text = value if isinstance(value, str) else str(value)
    if len(text) <= limit:
        return repr(text)
    return f"{text[:limit]!r}… ({len(text):,} characters)"


def shortened(value: object, limit: int = MAX_QUOTED) -> str:
    """Return the value without quotes, or its beginning with its length if it is long."""
    text = str(value)
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text):,} characters)"


def id_from_number(value: object) -> str:
    """Return an identifier that was written as a number as text.

    Raises:
        ValueError: it is neither text nor a whole number; nothing else identifies an account.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise ValueError(f"is {_KINDS.get(type(value), type(value).__name__)}; write it as text, in quotes")


def problem_sentences(problems: Iterable[Mapping[str, Any]], whole: str) -> list[str]:
    """Return "place: problem" for each error of a pydantic `ValidationError`.

    Args:
        problems: its `errors()`.
        whole: place of an error that concerns no single field.
    """
    return [f"{_place(problem['loc']) or whole}: {problem_text(problem)}" for problem in problems]


def problem_text(problem: Mapping[str, Any]) -> str:
    """Return what is wrong, without the place and without pydantic's "Value error, " before our own sentences."""
    error = problem.get("ctx", {}).get("error")
    return str(error) if isinstance(error, ValueError) else str(problem["msg"])


def _place(location: Iterable[int | str]) -> str:
    return ".".join(map(shortened, location))
