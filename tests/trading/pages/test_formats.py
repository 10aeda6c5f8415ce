"""Numbers and times have one form on all pages, those of the admin included, and in messages."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.urls import reverse
from django.utils import formats

from trading.models import ProcessHeartbeat

INSTANT = datetime(2026, 11, 24, 15, 0, 8, tzinfo=UTC)


@pytest.mark.django_db
def test_admin_list_shows_instants_in_the_one_form(client):
    client.force_login(User.objects.create_superuser("admin"))
    ProcessHeartbeat.objects.create(name="worker test", kind="worker", at=INSTANT)
    page = client.get(reverse("admin:trading_processheartbeat_changelist")).content.decode()
    assert "24 Nov 2026, 10:00:08 New York time" in page


def test_admin_dates_have_the_one_form():
    assert formats.date_format(INSTANT.date()) == "24 Nov 2026"


ROOT = Path(__file__).parents[3]
OWN_FORMATS = r"""
    \|\s*(date|time|floatformat|stringformat|naturaltime|naturalday|timesince|timeuntil|intcomma)\b(?!:"c")
    | {%\s*timestamp\s+\S+\s+"(?!(seconds|minutes|day|clock)")
    | }}\s*%(?!})
    | \${{
"""
MESSAGE_FORMATS = r"""
    \$\{
    | \}\ %(?!\()
    | \.\df\}\ ?(%|pp)
    | %Y-%m-%d
    | \bNew\ York\ time"\W*$
"""
OTHER_FORMATS = {
    "calculator/formats.py": "the forms themselves",
    "trading/common/formats.py": "the forms themselves",
    "trading/common/log_context.py": "times of the log",
    "trading/schedule/readiness.py": "the key of a job",
}


def stray(pattern, paths):
    found = re.compile(pattern, re.VERBOSE)
    return [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in paths
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if found.search(line)
    ]


def test_templates_use_the_tags_and_filters_of_the_one_form():
    assert stray(OWN_FORMATS, sorted((ROOT / "templates").rglob("*.html"))) == []


def test_messages_use_the_functions_of_the_one_form():
    sources = [
        path for folder in ("accounts", "brokers", "calculator", "trading") for path in (ROOT / folder).rglob("*.py")
    ]
    messages = [
        path
        for path in sorted(sources)
        if "migrations" not in path.parts and str(path.relative_to(ROOT)) not in OTHER_FORMATS
    ]
    assert stray(MESSAGE_FORMATS, messages) == []


@pytest.mark.parametrize(
    "line",
    [
        '{{ at|date:"H:i" }}',
        "{{ at|naturaltime }}",
        '{% timestamp at "Y-m-d" %}',
        "{{ weight }} %",
        "${{ cash }}",
        "{{ x|floatformat:1 }}",
    ],
)
def test_a_stray_format_of_a_template_is_found(line):
    assert re.search(OWN_FORMATS, line, re.VERBOSE)
