"""Who did what: written by itself, shown in the admin, changed by nobody."""

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client

from accounts.models import Strategy
from tests.support.makers import simulated_account
from trading.access.roles import sync_roles
from trading.models import AuditEntry

pytestmark = pytest.mark.django_db


@pytest.fixture
def boss():
    client = Client(REMOTE_ADDR="203.0.113.5")
    client.force_login(User.objects.create(username="boss", is_staff=True, is_superuser=True))
    return client


def latest():
    entry = AuditEntry.objects.first()
    return entry.person, entry.address, entry.action, entry.subject, entry.detail


def test_the_kill_switch(boss):
    boss.post("/admin/trading/tradingcontrol/add/", {"trading_paused": "on", "reason": "storm"})
    assert latest() == ("boss", "203.0.113.5", "kill switch on", "Trading paused", "storm")
    boss.post("/admin/trading/tradingcontrol/1/change/", {"reason": ""})
    assert latest()[2] == "kill switch off"


def test_the_switch_of_an_account_and_what_else_is_configured(boss):
    account = simulated_account("U1", {"SPY": "1"})
    boss.post("/admin/accounts/account/", {"action": "pause_trading", "_selected_action": [account.pk]})
    assert latest() == ("boss", "203.0.113.5", "account changed", "U1", "trading_paused: False → True")


def test_what_the_program_changes_is_nobodys(db):
    strategy = Strategy.objects.create(name="x", source="api")
    strategy.title = "Y"
    strategy.save()
    assert latest() == ("", "", "strategy changed", str(strategy), "title:  → Y")
    strategy.save()
    assert AuditEntry.objects.filter(action="strategy changed").count() == 1


def test_people_and_their_groups(boss):
    sync_roles()
    person = User.objects.create_user("ann", password="x")
    trader = Group.objects.get(name="trader")
    fields = {"username": "ann", "groups": [trader.pk], "date_joined_0": "2026-01-01", "date_joined_1": "00:00"}
    boss.post(f"/admin/auth/user/{person.pk}/change/", fields)
    assert person.groups.get() == trader
    assert latest()[:4] == ("boss", "203.0.113.5", "user changed", "ann") and "Groups" in latest()[4]


def test_logins(db):
    User.objects.create_user("ann", password="right", is_staff=True)
    client = Client(REMOTE_ADDR="203.0.113.9")
    client.post("/admin/login/", {"username": "ann", "password": "wrong"})
    assert latest() == ("", "203.0.113.9", "login failed", "ann", "")
    client.post("/admin/login/", {"username": "ann", "password": "right"})
    assert latest()[:3] == ("ann", "203.0.113.9", "logged in")


def test_it_is_shown_and_nobody_changes_it(boss):
    boss.post("/admin/trading/tradingcontrol/add/", {"trading_paused": "on", "reason": "<b>storm</b>"})
    page = boss.get("/admin/trading/auditentry/").content.decode()
    assert "kill switch on" in page and "&lt;b&gt;storm" in page and "<b>storm" not in page
    entry = AuditEntry.objects.first()
    assert boss.get("/admin/trading/auditentry/add/").status_code == 403
    assert boss.post(f"/admin/trading/auditentry/{entry.pk}/delete/", {"post": "yes"}).status_code == 403
    assert boss.post(f"/admin/trading/auditentry/{entry.pk}/change/", {"action": "x"}).status_code == 403
