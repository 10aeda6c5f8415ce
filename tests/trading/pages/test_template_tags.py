"""The filters and tags of the templates."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
import time_machine
from django.template import Context, Template
from django.utils import translation
from django.utils.html import strip_tags

from trading.templatetags import number_format
from trading.templatetags.number_format import NO_VALUE
from trading.templatetags.page_parts import age, duration, new_york_time, timestamp

MINUS = "\N{MINUS SIGN}"


@pytest.mark.parametrize(
    ("filter_name", "arguments", "text"),
    [
        ("money", (Decimal("1234.5"),), "$1,234.50"),
        ("money", (Decimal("1234.5"), 0), "$1,235"),
        ("money", (Decimal("-1.15"),), f"{MINUS}$1.15"),
        ("money", (Decimal("-0.3"), 0), "$0"),
        ("money", (Decimal(0),), "$0.00"),
        ("money", (Decimal("1E+4"),), "$10,000.00"),
        ("money", (None,), NO_VALUE),
        ("signed_money", (Decimal("-1234.5"),), f"{MINUS}$1,234.50"),
        ("signed_money", (Decimal(3),), "+$3.00"),
        ("signed_money", (Decimal("-0.004"),), "$0.00"),
        ("signed_money", (None,), NO_VALUE),
        ("price", (Decimal("49.9"),), "$49.90"),
        ("price", (Decimal("614.671234"),), "$614.6712"),
        ("price", (Decimal(50),), "$50.00"),
        ("percent", (Decimal("12.345"),), "12.3%"),
        ("percent", (Decimal("-0.1"),), f"{MINUS}0.1%"),
        ("percent", (Decimal("-0.04"),), "0.0%"),
        ("percent", (Decimal("7.50"), -2), "7.5%"),
        ("percent", (Decimal("7.00"), -2), "7%"),
        ("percent", (Decimal(100), -2), "100%"),
        ("percent", (None,), NO_VALUE),
        ("signed_percent", (1.25,), "+1.3%"),
        ("points", (Decimal("1.25"),), "1.3 pp"),
        ("points", ("",), NO_VALUE),
        ("signed_points", (Decimal("-1.25"),), f"{MINUS}1.3 pp"),
        ("signed", (Decimal("0.05"),), "+0.1"),
        ("signed", (Decimal("0.04"),), "0.0"),
        ("signed", (Decimal("-1.5"),), f"{MINUS}1.5"),
        ("signed", (Decimal("1234.5"),), "+1,234.5"),
        ("signed", (Decimal("0.004"), 2), "0.00"),
        ("signed", (None,), NO_VALUE),
        ("number", (Decimal("1.2500"),), "1.25"),
        ("number", (1234567, 0), "1,234,567"),
        ("number", (Decimal("1.25"), -1), "1.3"),
        ("shares", (Decimal("1234.000"),), "1,234"),
        ("shares", (Decimal("-0.50000000"),), f"{MINUS}0.5"),
        ("shares", (Decimal("-3E+1"),), f"{MINUS}30"),
        ("shares", (Decimal("0E-8"),), "0"),
        ("shares", (None,), NO_VALUE),
    ],
)
def test_number_filter_value_returns_text(filter_name, arguments, text):
    assert getattr(number_format, filter_name)(*arguments) == text


def test_money_has_one_form_in_every_locale():
    with translation.override("de"):
        assert number_format.money(Decimal("1234.5")) == "$1,234.50"


INSTANT = datetime(2026, 11, 24, 15, 0, 8, tzinfo=UTC)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{% timestamp at %}", "24 Nov 2026, 10:00:08 New York time"),
        ('{% timestamp at "minutes" %}', "24 Nov 2026, 10:00 New York time"),
        ('{% timestamp at "day" %}', "24 Nov 2026 New York time"),
        ('{% timestamp at "clock" %}', "10:00:08 New York time"),
        ("{% new_york_time at %}", "Tue 24 Nov 2026, 10:00 New York time"),
        ("{% new_york_time at with_zone=False %}", "Tue 24 Nov 2026, 10:00"),
        ("{{ at.date|day }}", "Tue 24 Nov 2026"),
        ("{% timestamp missing %}", NO_VALUE),
        ("{% new_york_time missing %}", NO_VALUE),
        ("{% age missing %}", NO_VALUE),
        ("{{ missing|day }}", NO_VALUE),
    ],
)
def test_time_tag_shows_new_york_time(source, text):
    html = Template("{% load page_parts %}" + source).render(Context({"at": INSTANT, "missing": None}))
    assert strip_tags(html) == text
    assert html == text or 'datetime="2026-11-24' in html


@pytest.mark.parametrize("layout", ["seconds", "minutes", "day", "clock"])
def test_timestamp_marks_the_element_for_the_readers_time_zone(layout):
    assert f'<time datetime="2026-11-24T10:00:08-05:00" data-local="{layout}">' in timestamp(INSTANT, layout)


def test_new_york_time_is_not_rewritten_for_the_reader():
    assert "data-local" not in new_york_time(INSTANT)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (2.9, "2 s"),
        (299, "4 min 59 s"),
        (300, "5 min"),
        (3900, "1 h 5 min"),
        (273600, "3 d 4 h"),
        (-5, "0 s"),
    ],
)
def test_duration_shows_its_two_largest_units(seconds, text):
    assert duration(timedelta(seconds=seconds)) == duration(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-3, "just now"),
        (4, "just now"),
        (12, "12 s ago"),
        (200, "3 min ago"),
        (86399, "23 h ago"),
        (90000, "1 day ago"),
        (172800, "2 days ago"),
    ],
)
def test_age_shows_its_largest_unit(seconds, text):
    with time_machine.travel(INSTANT + timedelta(seconds=seconds), tick=False):
        element = age(INSTANT)
    assert strip_tags(element) == text
    assert 'title="24 Nov 2026, 10:00:08 New York time"' in element


@pytest.mark.parametrize(
    ("source", "elements"),
    [
        (
            '{% tile "Cash" "$5" %}  from $9 {% endtile %}',
            ["<h2>Cash</h2>", '<p class="rb-figure">$5</p>', "<small>from $9</small>"],
        ),
        ('{% tile "Drift" "1.2 pp" %}{% endtile %}', ['<p class="rb-figure">1.2<span> pp</span></p>']),
        ('{% tile "Outside" 2 total=5 style="warn" %}{% endtile %}', ["rb-tile rb-warn", "2<span>/5</span>"]),
        ('{% tile "Next" "Mon" is_text=True %}{% endtile %}', ['<p class="rb-figure rb-words">Mon</p>']),
        ("{% tile name name %}{{ name }}{% endtile %}", ["<h2>&lt;b&gt;</h2>", "<small>&lt;b&gt;</small>"]),
    ],
)
def test_tile_renders_title_figure_and_note(source, elements):
    html = Template("{% load page_parts %}" + source).render(Context({"name": "<b>"}))
    assert [element for element in elements if element not in html] == []


def test_post_button_renders_a_form_with_the_csrf_token():
    source = '{% load page_parts %}{% post_button "Preview" "trading:preview" "U1" style="primary" aria_label="Preview U1" %}'
    html = Template(source).render(Context({"csrf_token": "secret"}))
    assert '<form method="post" action="/accounts/U1/preview/">' in html
    assert 'value="secret"' in html
    assert 'aria-label="Preview U1"' in html
    assert 'class="rb-button rb-primary">Preview</button>' in html
