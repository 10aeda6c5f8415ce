"""Geometry of server-rendered SVG charts, in a box of 100 by 40. Labels and numbers are HTML."""

from collections.abc import Sequence
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
    """A sparkline and the area below it."""

    line: str
    area: str


@dataclass(frozen=True)
class ValueChart:
    """A line chart over time with its scale and a mark for each rebalance."""

    line: str
    area: str
    scale: tuple[Decimal, ...]
    grid: tuple[str, ...]
    marks: tuple[tuple[str, date], ...]
    dates: tuple[date, ...]
    points: tuple[tuple[date, Decimal], ...]


def spark(values: Sequence[Decimal]) -> Spark | None:
    """Return a sparkline of the values; None for fewer than two."""
    if len(values) < 2:
        return None
    lowest, highest = min(values), max(values)
    spread = (highest - lowest) or Decimal(1)
    step = Decimal(100) / (len(values) - 1)
    line = " ".join(
        f"{geometry(step * i)},{geometry(HEIGHT - (value - lowest) / spread * (HEIGHT - 4) - 2)}"
        for i, value in enumerate(values)
    )
    return Spark(line=line, area=f"0,{HEIGHT} {line} 100,{HEIGHT}")


def value_chart(points: Sequence[tuple[date, Decimal]], marks: Sequence[date] = ()) -> ValueChart | None:
    """Return a chart of daily values, oldest first; None for fewer than two. Marks outside the chart are dropped."""
    if len(points) < 2:
        return None
    first, last = points[0][0], points[-1][0]
    days = Decimal((last - first).days)
    scale = _scale([value for _, value in points])
    floor, spread = scale[0], scale[-1] - scale[0]

    def x(day: date) -> str:
        return geometry((day - first).days / days * 100)

    line = " ".join(f"{x(day)},{geometry(HEIGHT - (value - floor) / spread * HEIGHT)}" for day, value in points)
    return ValueChart(
        line=line,
        area=f"0,{HEIGHT} {line} 100,{HEIGHT}",
        scale=scale[::-1],
        grid=tuple(geometry(HEIGHT - (value - floor) / spread * HEIGHT) for value in scale),
        marks=tuple((x(day), day) for day in sorted(set(marks)) if first <= day <= last),
        dates=_dates(first, last),
        points=tuple(points),
    )


def _scale(values: Sequence[Decimal]) -> tuple[Decimal, ...]:
    """Return round numbers from below the lowest value to above the highest."""
    lowest, highest = min(values), max(values)
    spread = (highest - lowest) or abs(highest) or Decimal(1)
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
