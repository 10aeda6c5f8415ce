"""Geometry of server-rendered SVG charts, in a box of 100 by 40. Labels and numbers are HTML."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from math import ceil, floor

from calculator.plan_types import CASH

WIDTH, HEIGHT = Decimal(100), Decimal(40)
STEPS = tuple(Decimal(step) for step in ("1", "2", "2.5", "5", "10"))
MAX_LINES = 5
DATES_BELOW = 5
COLOURS = 8
LEAST_RANGE = Decimal("0.1")
"""Least range of a chart, as a fraction of its highest value."""


def geometry(number: Decimal) -> str:
    """Return an SVG coordinate, with a decimal point in every locale."""
    return f"{number:.2f}"


def colour(index: int) -> str:
    """Return the CSS class of an asset's colour."""
    return f"rb-c{index % COLOURS}"


def asset_colour(symbol: str, index: int) -> str:
    """Return the CSS class of an asset's colour; cash has its own."""
    return "rb-cash" if symbol == CASH else colour(index)


def asset_label(symbol: str) -> str:
    """Return the label of a symbol or of cash. No symbol has lower-case letters."""
    return "Cash" if symbol == CASH else symbol


@dataclass(frozen=True)
class Spark:
    """A sparkline, with the places at which money was paid in or out."""

    line: str
    flows: tuple[str, ...]


@dataclass(frozen=True)
class Mark:
    """A vertical line in a chart, with the text that explains it. `kind` is "trade", "flow" or "unexplained"."""

    day: date
    kind: str
    text: str


@dataclass(frozen=True)
class ValueChart:
    """A line chart over time with its scale and its marks. The area below is filled only down to zero."""

    line: str
    area: str
    scale: tuple[Decimal, ...]
    grid: tuple[str, ...]
    marks: tuple[tuple[str, Mark], ...]
    kinds: frozenset[str]
    dates: tuple[date, ...]
    points: tuple[tuple[date, Decimal], ...]


def value_range(values: Sequence[Decimal]) -> tuple[Decimal, Decimal]:
    """Return the range that a chart of the values covers, so that a small change looks small.

    It is at least a tenth of the highest value, and starts at zero where the values at least double.
    """
    lowest, highest = min(values), max(values)
    if 0 <= lowest <= highest / 2:
        return Decimal(0), highest
    missing = max(abs(highest) * LEAST_RANGE - (highest - lowest), Decimal(0))
    return lowest - missing / 2, highest + missing / 2


def spark(points: Sequence[tuple[date, Decimal]], flows: Sequence[date] = ()) -> Spark | None:
    """Return a sparkline of daily values, oldest first; None for fewer than two."""
    if len(points) < 2:
        return None
    lowest, highest = value_range([value for _, value in points])
    x, y = _places(points[0][0], points[-1][0], lowest, (highest - lowest) or Decimal(1))
    return Spark(
        line=" ".join(f"{x(day)},{y(value)}" for day, value in points),
        flows=tuple(x(day) for day in flows if points[0][0] <= day <= points[-1][0]),
    )


def value_chart(points: Sequence[tuple[date, Decimal]], marks: Sequence[Mark] = ()) -> ValueChart | None:
    """Return a chart of daily values, oldest first; None for fewer than two. Marks outside the chart are dropped."""
    if len(points) < 2:
        return None
    first, last = points[0][0], points[-1][0]
    scale = _scale(*value_range([value for _, value in points]))
    x, y = _places(first, last, scale[0], scale[-1] - scale[0])
    line = " ".join(f"{x(day)},{y(value)}" for day, value in points)
    shown = [mark for mark in sorted(set(marks), key=lambda mark: (mark.day, mark.kind)) if first <= mark.day <= last]
    return ValueChart(
        line=line,
        area=f"0,{HEIGHT} {line} 100,{HEIGHT}" if scale[0] == 0 else "",
        scale=scale[::-1],
        grid=tuple(y(value) for value in scale),
        marks=tuple((x(mark.day), mark) for mark in shown),
        kinds=frozenset(mark.kind for mark in shown),
        dates=_dates(first, last),
        points=tuple(points),
    )


def _places(
    first: date, last: date, lowest: Decimal, spread: Decimal
) -> tuple[Callable[[date], str], Callable[[Decimal], str]]:
    """Return the functions from a day to its horizontal, and from a value to its vertical coordinate."""
    days = Decimal((last - first).days)

    def x(day: date) -> str:
        return geometry((day - first).days / days * WIDTH)

    def y(value: Decimal) -> str:
        return geometry(HEIGHT - (value - lowest) / spread * HEIGHT)

    return x, y


def _scale(lowest: Decimal, highest: Decimal) -> tuple[Decimal, ...]:
    """Return round numbers from below the lowest value to above the highest."""
    spread = (highest - lowest) or Decimal(1)
    power = Decimal(10) ** (spread / (MAX_LINES - 1)).adjusted()
    step = next(power * step for step in (*STEPS, Decimal(20)) if _lines(lowest, highest, power * step) <= MAX_LINES)
    start = floor(lowest / step) * step
    return tuple(start + step * i for i in range(_lines(lowest, highest, step)))


def _lines(lowest: Decimal, highest: Decimal, step: Decimal) -> int:
    return max(ceil(highest / step) - floor(lowest / step), 1) + 1


def _dates(first: date, last: date) -> tuple[date, ...]:
    days = (last - first).days
    steps = min(DATES_BELOW - 1, days)
    return tuple(first + timedelta(days=days * i // steps) for i in range(steps + 1))


@dataclass(frozen=True)
class Slice:
    """A part of a strip or ring, in percent of its length."""

    label: str
    colour: str
    start: str
    width: str
    percent: Decimal


def slices(weights: Sequence[tuple[str, str, Decimal]]) -> list[Slice]:
    """Return adjacent parts from (symbol, colour, weight as a fraction); together at most the whole."""
    whole = max(sum((weight for _, _, weight in weights if weight > 0), Decimal(0)), Decimal(1))
    found, at = [], Decimal(0)
    for symbol, tint, weight in weights:
        width = max(weight, Decimal(0)) / whole * 100
        found.append(
            Slice(
                asset_label(symbol), tint, geometry(at), geometry(max(width - Decimal("0.4"), Decimal(0))), weight * 100
            )
        )
        at += width
    return found
