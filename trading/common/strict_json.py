"""JSON of other programs: objects that name a key twice are recognized, and every defect is a `ValueError`."""

import json
from collections import Counter
from collections.abc import Callable
from typing import Any


class JsonObject(dict[str, Any]):
    """A JSON object; `repeated` are the keys that it contains more than once. The last value of such a key counts."""

    repeated: tuple[str, ...] = ()


def read_json(text: str | bytes, *, number: Callable[[str], Any] | None = None, unique_keys: bool = False) -> Any:
    """Return the content of a JSON text, its objects as `JsonObject`.

    Args:
        text: the JSON text; bytes are UTF-8, UTF-16 or UTF-32.
        number: makes a value of each number; by default, integers are int and others float.
        unique_keys: refuse an object that names a key twice: only one of its values would count.

    Raises:
        ValueError: it is not JSON, it is nested too deeply, or it repeats a key that must be unique.
    """
    try:
        return json.loads(
            text, object_pairs_hook=_unique if unique_keys else _object, parse_int=number, parse_float=number
        )
    except RecursionError as error:
        message = "it is nested too deeply"
        raise ValueError(message) from error


def _object(pairs: list[tuple[str, Any]]) -> JsonObject:
    content = JsonObject(pairs)
    if len(content) < len(pairs):
        content.repeated = tuple(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
    return content


def _unique(pairs: list[tuple[str, Any]]) -> JsonObject:
    content = _object(pairs)
    if content.repeated:
        message = f"an object repeats the key {content.repeated[0]!r}"
        raise ValueError(message)
    return content
