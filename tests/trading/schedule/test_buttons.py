"""The buttons on an account's page."""

import pytest
from django.contrib.auth.models import Permission, User
from django.urls import reverse

from trading.models import ScheduleEntry

pytestmark = pytest.mark.django_db


@pytest.fixture
def as_trader(client):
    user = User.objects.create_user("tess", password="pw", is_staff=True)
    rights = ("view_account", "preview_account", "execute_account")
    user.user_permissions.set(Permission.objects.filter(codename__in=rights))
    client.force_login(user)
    return client


def test_a_trader_puts_an_account_on_the_schedule_and_takes_it_off(plain_account, clock, as_trader):
    clock("2026-11-25 12:00")
    plain_account()
    answer = as_trader.post(reverse("trading:schedule_add", args=["U1"]), follow=True)
    assert "Scheduled for Fri 27 Nov, 09:30 New York time" in answer.content.decode()
    entry = ScheduleEntry.objects.get()
    assert (entry.origin, entry.requested_by.username) == ("person", "tess")
    answer = as_trader.post(reverse("trading:schedule_remove", args=["U1"]), follow=True)
    assert "Scheduled for" not in answer.content.decode()
    assert ScheduleEntry.objects.get().state == "removed"


def test_who_may_not_execute_sees_no_button_and_cannot_press_it(plain_account, clock, client):
    clock("2026-11-25 12:00")
    plain_account()
    user = User.objects.create_user("vera", password="pw", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=("view_account", "preview_account")))
    client.force_login(user)
    page = client.get(reverse("trading:account", args=["U1"])).content.decode()
    assert reverse("trading:schedule_add", args=["U1"]) not in page
    client.post(reverse("trading:schedule_add", args=["U1"]))
    assert not ScheduleEntry.objects.exists()
    assert client.get(reverse("trading:schedule_add", args=["U1"])).status_code == 405
