"""The schedule buttons on the account page."""

import pytest
from django.contrib.auth.models import Permission, User
from django.urls import reverse

from trading.models import ScheduleEntry

pytestmark = pytest.mark.django_db


@pytest.fixture
def as_trader(client):
    user = User.objects.create_user("tess", password="pw", is_staff=True)
    codenames = ("view_account", "preview_account", "execute_account")
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    client.force_login(user)
    return client


def test_schedule_buttons_add_and_remove_an_account(plain_account, clock, as_trader):
    clock("2026-11-25 12:00")
    plain_account()
    assert reverse("trading:schedule_confirm", args=["U1"]) in as_trader.get("/accounts/U1/").content.decode()
    answer = as_trader.post(reverse("trading:schedule_add", args=["U1"]), follow=True)
    assert "Fri 27 Nov 2026, 09:30 New York time" in answer.content.decode()
    assert reverse("trading:schedule_remove", args=["U1"]) in answer.content.decode()
    entry = ScheduleEntry.objects.get()
    assert (entry.origin, entry.requested_by.username) == ("person", "tess")
    answer = as_trader.post(reverse("trading:schedule_remove", args=["U1"]), follow=True)
    assert reverse("trading:schedule_remove", args=["U1"]) not in answer.content.decode()
    assert ScheduleEntry.objects.get().state == "removed"


def test_schedule_buttons_without_permission_are_hidden_and_refused(plain_account, clock, client):
    clock("2026-11-25 12:00")
    plain_account()
    user = User.objects.create_user("vera", password="pw", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=("view_account", "preview_account")))
    client.force_login(user)
    page = client.get(reverse("trading:account", args=["U1"])).content.decode()
    assert reverse("trading:schedule_confirm", args=["U1"]) not in page
    page = client.get(reverse("trading:schedule_confirm", args=["U1"])).content.decode()
    assert f'action="{reverse("trading:schedule_add", args=["U1"])}"' not in page
    client.post(reverse("trading:schedule_add", args=["U1"]))
    assert not ScheduleEntry.objects.exists()
    assert client.get(reverse("trading:schedule_add", args=["U1"])).status_code == 405
