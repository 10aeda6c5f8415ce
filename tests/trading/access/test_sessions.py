"""Sessions: they end after inactivity, users see and end them, and the cookie's name is bound to the host."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from tests.support.two_factor import log_in_without_code
from trading.access.sessions import digest
from trading.journal.retention import delete_expired
from trading.models import AuditEntry, UserSession

pytestmark = pytest.mark.django_db


@pytest.fixture
def user():
    return User.objects.create_superuser("ann", password="right")


def is_in(client):
    return client.get("/codes/").status_code == 200


def quiet_for(**time):
    UserSession.objects.update(last_seen_at=timezone.now() - timedelta(**time))


def test_session_ends_after_inactivity(user, settings):
    settings.SESSION_IDLE_MINUTES = 30
    client = log_in_without_code(user)
    quiet_for(minutes=29)
    assert is_in(client)
    quiet_for(minutes=29)
    assert is_in(client), "Activity prolongs a session."
    quiet_for(minutes=30)
    assert not is_in(client)


def test_page_that_refreshes_itself_does_not_prolong_a_session(user):
    client = log_in_without_code(user)
    quiet_for(minutes=10)
    client.get("/codes/", headers={"HX-Request": "true"})
    assert UserSession.objects.get().last_seen_at < timezone.now() - timedelta(minutes=9)
    client.get("/codes/")
    assert UserSession.objects.get().last_seen_at > timezone.now() - timedelta(minutes=1)


def test_session_ends_after_12_hours_despite_activity(user, time_machine):
    time_machine.move_to("2026-11-24T15:00:00Z", tick=False)
    client = log_in_without_code(user)
    for _ in range(23):
        time_machine.shift(timedelta(minutes=30))
        assert is_in(client)
    time_machine.shift(timedelta(minutes=30))
    assert not is_in(client)


def test_user_ends_one_session_or_all_others_and_no_session_of_another_user(user):
    clients = [log_in_without_code(user) for _ in range(3)]
    stranger = log_in_without_code(User.objects.create_user("bob", password="x"))
    strange = UserSession.objects.get(user__username="bob").pk
    key = {client: digest(client.cookies["sessionid"].value) for client in clients}
    here, lost, _ = clients
    page = here.get("/sessions/").content.decode()
    assert page.count('name="session"') == 3 and strange not in page
    here.post("/sessions/end/", {"session": key[lost]})
    assert [is_in(client) for client in clients] == [True, False, True]
    here.post("/sessions/end/", {"session": strange})
    here.post("/sessions/end/", {"session": "others"})
    assert [is_in(client) for client in clients] == [True, False, False]
    assert is_in(stranger)
    assert AuditEntry.objects.filter(action="session ended", person="ann").count() == 2


def test_list_shows_address_and_browser_of_a_login(user):
    client = Client(REMOTE_ADDR="203.0.113.5", headers={"user-agent": "Firefox <b>"})
    client.post("/admin/login/", {"username": "ann", "password": "right", "next": "/codes/"})
    page = client.get("/sessions/").content.decode()
    assert "203.0.113.5" in page and "Firefox &lt;b&gt;" in page


def test_administrator_ends_sessions_of_others(user):
    boss, ann = log_in_without_code(user), log_in_without_code(User.objects.create_user("eve", password="x"))
    session = UserSession.objects.get(user__username="eve")
    boss.post("/admin/trading/usersession/", {"action": "end_sessions", "_selected_action": [session.pk]})
    assert not is_in(ann)


def test_logout_and_expiry_remove_the_row(user):
    client = log_in_without_code(user)
    client.post("/admin/logout/")
    assert not UserSession.objects.filter(user=user).exists()
    log_in_without_code(user)
    quiet_for(days=1)
    delete_expired()
    assert not UserSession.objects.exists()


@pytest.mark.parametrize("path", ["/", "/codes/", "/healthz", "/api/accounts", "/api/openapi.json", "/admin/login/"])
def test_responses_are_not_stored(user, path):
    for client in (Client(), log_in_without_code(user)):
        assert "no-store" in client.get(path)["Cache-Control"]
