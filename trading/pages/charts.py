"""Shapes for server-rendered charts: text with points for SVG, in a box of 100 by 40."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from trading.pages.tables import geometry

HEIGHT = Decimal(40)


@dataclass(frozen=True)
class LineChart:
    """A line and the area below it, with its lowest and highest value."""

    line: str
    area: str
    lowest: Decimal
    highest: Decimal


def line_chart(values: Sequence[Decimal]) -> LineChart | None:
    """The values from left to right; None for fewer than two."""
    if len(values) < 2:
        return None
    lowest, highest = min(values), max(values)
    spread = (highest - lowest) or Decimal(1)
    step = Decimal(100) / (len(values) - 1)
    points = [
        f"{geometry(step * i)},{geometry(HEIGHT - (value - lowest) / spread * (HEIGHT - 4) - 2)}"
        for i, value in enumerate(values)
    ]
    line = " ".join(points)
    return LineChart(line=line, area=f"0,{HEIGHT} {line} 100,{HEIGHT}", lowest=lowest, highest=highest)
