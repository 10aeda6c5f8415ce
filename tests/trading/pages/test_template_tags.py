"""The filters and tags of the templates."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from django.template import Context, Template
from django.utils import timezone, translation

from trading.templatetags import number_format
from trading.templatetags.number_format import NO_VALUE
from trading.templatetags.page_parts import timestamp


@pytest.mark.parametrize(
    ("filter_name", "arguments", "text"),
    [
        ("money", (Decimal("1234.5"),), "$1,234.50"),
        ("money", (Decimal("1234.5"), 0), "$1,235"),
        ("money", (Decimal(0),), "$0.00"),
        ("money", (None,), NO_VALUE),
        ("signed_money", (Decimal("-1234.5"),), "\N{MINUS SIGN}$1,234.50"),
        ("signed_money", (Decimal(3),), "+$3.00"),
        ("signed_money", (Decimal(0),), "$0.00"),
        ("signed_money", (None,), NO_VALUE),
        ("percent", (Decimal("12.345"),), "12.3%"),
        ("percent", (Decimal("7.50"), -2), "7.50%"),
        ("percent", (Decimal("7.00"), -2), "7%"),
        ("percent", (None,), NO_VALUE),
        ("points", (Decimal("1.25"),), "1.3 pp"),
        ("points", (None,), NO_VALUE),
        ("signed", (Decimal("0.05"),), "+0.1"),
        ("signed", (Decimal("0.04"),), "0.0"),
        ("signed", (Decimal("-1.5"),), "-1.5"),
        ("signed", (Decimal("0.004"), 2), "0.00"),
        ("signed", (None,), NO_VALUE),
        ("shares", (Decimal("1234.000"),), "1,234"),
        ("shares", (None,), NO_VALUE),
    ],
)
def test_number_filter_value_returns_text(filter_name, arguments, text):
    assert getattr(number_format, filter_name)(*arguments) == text


def test_money_german_locale_uses_its_separators():
    with translation.override("de"):
        assert number_format.money(Decimal("1234.5")) == "$1.234,50"


def test_timestamp_instant_in_utc_is_written_in_local_time():
    with timezone.override("America/New_York"):
        element = timestamp(datetime(2026, 11, 24, 15, tzinfo=UTC), "H:i")
    assert element == '<time datetime="2026-11-24T10:00:00-05:00">10:00</time>'


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
