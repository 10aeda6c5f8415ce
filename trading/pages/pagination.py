"""Keyset pagination: constant time per page, without COUNT or OFFSET."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest

Row = TypeVar("Row", bound=Model)
Filters = Mapping[str, tuple[str, Q]]
"""Label and condition of each filter of a list; an empty condition: all rows."""

PAGE_SIZE = 50
"""Rows of a page of runs or events."""


@dataclass(frozen=True)
class CursorPage(Generic[Row]):
    """Rows, newest first, and the addresses of the newer and older pages."""

    rows: Sequence[Row]
    newer: str
    older: str


def cursor_page(rows: QuerySet[Row], request: HttpRequest, size: int) -> CursorPage[Row]:
    """Return the page of the request: the rows `before` or `after` a primary key."""
    after, before = _number(request, "after"), _number(request, "before")
    if after is not None:
        found = list(rows.filter(pk__gt=after).order_by("pk")[: size + 1])
        more_newer, more_older = len(found) > size, True
        found = found[:size][::-1]
    else:
        older = rows.filter(pk__lt=before) if before is not None else rows
        found = list(older.order_by("-pk")[: size + 1])
        more_newer, more_older = before is not None, len(found) > size
        found = found[:size]
    return CursorPage(
        rows=found,
        newer=_address(request, "after", found[0].pk) if found and more_newer else "",
        older=_address(request, "before", found[-1].pk) if found and more_older else "",
    )


def _number(request: HttpRequest, name: str) -> int | None:
    text = request.GET.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


def _address(request: HttpRequest, name: str, value: Any) -> str:
    query = request.GET.copy()
    for known in ("after", "before"):
        query.pop(known, None)
    query[name] = str(value)
    return f"?{query.urlencode()}"


def filtered_page(rows: QuerySet[Row], request: HttpRequest, filters: Filters) -> dict[str, Any]:
    """Return the context of a list: its page of the rows of the chosen filter, and the filters."""
    chosen = request.GET.get("state", "")
    _, condition = filters.get(chosen, ("", Q()))
    links = [{"key": key, "label": label, "chosen": key == chosen} for key, (label, _) in filters.items()]
    return {"page": cursor_page(rows.filter(condition), request, PAGE_SIZE), "filters": links}
