"""Numbers and times have one form on all pages, those of the admin included."""

from datetime import UTC, datetime

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
