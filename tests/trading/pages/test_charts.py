"""Geometry of the charts of values."""

from datetime import date, timedelta
from decimal import Decimal

import pytest

from trading.pages.charts import HEIGHT, Mark, spark, value_chart, value_range
from trading.pages.strategy_pages import round_to_sum

FIRST = date(2026, 1, 1)


def points(*values):
    return [(FIRST + timedelta(days=day), Decimal(value)) for day, value in enumerate(values)]


def heights(line):
    return [Decimal(place.split(",")[1]) for place in line.split()]


@pytest.mark.parametrize("draw", [lambda values: spark(values).line, lambda values: value_chart(values).line])
def test_chart_of_a_small_change_shows_a_small_change(draw):
    """One percent is at most a tenth of the height; half may take half of it."""
    lowered = heights(draw(points(124_000, 122_760)))
    assert 0 < lowered[1] - lowered[0] <= HEIGHT / 10
    halved = heights(draw(points(124_000, 62_000)))
    assert halved[1] - halved[0] >= HEIGHT * Decimal("0.4")


@pytest.mark.parametrize(
    ("values", "low", "high"),
    [
        ((100, 100), 95, 105),
        ((100, 95), 92.5, 102.5),
        ((100, 70), 70, 100),
        ((100, 50), 0, 100),
        ((0, 0), 0, 0),
        ((-10, 100), -10, 100),
    ],
)
def test_range_is_a_tenth_of_the_value_or_starts_at_zero(values, low, high):
    assert value_range([Decimal(value) for value in values]) == (Decimal(str(low)), Decimal(str(high)))


def test_area_is_filled_only_down_to_zero():
    assert value_chart(points(100, 95)).area == ""
    from_zero = value_chart(points(100, 10))
    assert from_zero.scale[-1] == 0
    assert from_zero.area.startswith("0,40 ")


def test_marks_outside_the_chart_are_dropped():
    inside, outside = (Mark(FIRST + timedelta(days=days), "flow", "Money in") for days in (1, 9))
    chart = value_chart(points(100, 101, 102), [outside, inside, inside])
    assert [mark for _, mark in chart.marks] == [inside]
    assert chart.kinds == {"flow"}
    assert spark(points(100, 101, 102), [inside.day, outside.day]).flows == ("50.00",)


def test_chart_of_one_value_or_of_nothing_but_zero():
    assert value_chart(points(100)) is None
    assert spark(points(100)) is None
    assert set(heights(value_chart(points(0, 0)).line)) == {HEIGHT}


@pytest.mark.parametrize(
    ("percents", "shown"),
    [
        (("40", "30", "15", "7.5", "7.5"), ("40.0", "30.0", "15.0", "7.5", "7.5")),
        (("35", "23", "27"), ("35", "23", "27")),
        (("33.33333333", "33.33333333", "33.33333334"), ("33.3333", "33.3333", "33.3334")),
        (("14.2857142857",) * 7, ("14.2858",) + ("14.2857",) * 6),
        (("100",), ("100",)),
        ((), ()),
    ],
)
def test_percentages_have_the_digits_they_need_and_add_up_to_their_sum(percents, shown):
    found = round_to_sum([Decimal(number) for number in percents])
    assert [f"{number:f}" for number in found] == list(shown)
    assert abs(sum(found) - sum(map(Decimal, percents))) < Decimal("0.0001")
