"""A form that is submitted after the session ended: login, back to its page, and a message that nothing was done."""

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse

from tests.support.makers import queue, simulated_account
from trading.models import RebalanceRun, UserSession
from trading.models.run_documents import ExecCommand
from trading.pages.ended_session import NOT_CARRIED_OUT, NOTHING_DONE, NOTHING_SENT

pytestmark = pytest.mark.django_db


@pytest.fixture
def person():
    user = User.objects.create_user("tina", password="right", is_staff=True)
    user.user_permissions.set(
        Permission.objects.filter(codename__in=("view_account", "preview_account", "execute_account"))
    )
    return user


@pytest.fixture
def preview():
    return queue(simulated_account("U1", {"SPY": "1"}), ExecCommand.PRINT_REBALANCE)


def log_in(client, address):
    return client.post(address, {"username": "tina", "password": "right"})


def messages_of(answer):
    return [str(message) for message in answer.context["messages"]]


@pytest.mark.parametrize(
    "referrer", ["", "http://testserver{page}", "https://evil.example{page}", "http://testserver/x"]
)
def test_send_without_a_session_leads_back_to_the_plan(client, person, preview, referrer):
    page = reverse("trading:run", args=[preview.run_id])
    address, fields = reverse("trading:execute", args=[preview.run_id]), {"plan_hash": preview.plan_hash}
    for _ in range(3):
        to_login = client.post(address, fields, headers={"referer": referrer.format(page=page)})
    login = client.get(to_login.url)
    assert login.context["pending_messages"] == [NOTHING_SENT]
    assert NOTHING_SENT in login.content.decode()
    back = log_in(client, to_login.url)
    assert back.url == page
    answer = client.get(back.url)
    assert (answer.status_code, messages_of(answer)) == (200, [NOTHING_SENT])
    assert messages_of(client.get(page)) == []
    assert not RebalanceRun.objects.filter(mode="execute").exists()
    assert not UserSession.objects.filter(user=None).exists(), "an unauthenticated client stores nothing"


def test_send_without_a_session_claims_nothing_about_a_plan_that_was_sent_elsewhere(client, person, preview):
    sent = queue(preview.account)
    RebalanceRun.objects.filter(pk=sent.pk).update(approved_preview=preview)
    to_login = client.post(reverse("trading:execute", args=[preview.run_id]), {"plan_hash": preview.plan_hash})
    assert client.get(to_login.url).context["pending_messages"] == [NOT_CARRIED_OUT]


@pytest.mark.parametrize(
    ("name", "argument", "page", "message"),
    [
        ("preview", "account", "/accounts/U1/", NOTHING_SENT),
        ("schedule_add", "account", "/accounts/U1/", NOTHING_SENT),
        ("schedule_remove", "account", "/accounts/U1/", NOTHING_DONE),
        ("stop", "run", "/runs/{run}/", NOTHING_DONE),
        ("close", "run", "/runs/{run}/", NOTHING_DONE),
        ("fetch_targets", "strategy", "/strategies/s/", NOTHING_DONE),
        ("test_notification", "", "/notifications/", NOTHING_DONE),
        ("end_sessions", "", "/sessions/", NOTHING_DONE),
        ("two_factor_remove", "", "/codes/", NOTHING_DONE),
    ],
)
def test_every_action_leads_back_to_a_page(client, person, preview, name, argument, page, message):
    arguments = {"account": ["U1"], "run": [preview.run_id], "strategy": ["s"], "": []}[argument]
    to_login = client.post(reverse(f"trading:{name}", args=arguments))
    assert log_in(client, to_login.url).url == page.format(run=preview.run_id)
    assert messages_of(client.get("/runs/")) == [message]


def test_a_button_on_another_page_leads_back_to_that_page(client, person, preview):
    to_login = client.post(reverse("trading:preview", args=["U1"]), headers={"referer": "http://testserver/?page=2"})
    assert log_in(client, to_login.url).url == "/?page=2"


def test_an_admin_form_leads_back_to_the_form(client, person):
    form = reverse("admin:accounts_account_add")
    to_login = client.post(form, {"name": "x"}, headers={"referer": f"http://testserver{form}"})
    assert log_in(client, to_login.url).url == form


def test_reading_without_a_session_leads_back_without_a_message(client, person, preview):
    page = reverse("trading:run", args=[preview.run_id])
    to_login = client.get(page)
    assert client.get(to_login.url).context["pending_messages"] == []
    assert log_in(client, to_login.url).url == page


def test_a_fragment_that_posts_sends_the_whole_page_to_the_login(client, preview):
    here = f"http://testserver{reverse('trading:run', args=[preview.run_id])}"
    headers = {"HX-Request": "true", "HX-Current-URL": here}
    answer = client.post(reverse("trading:stop", args=[preview.run_id]), headers=headers)
    assert (answer.status_code, answer["HX-Redirect"]) == (204, here)


@pytest.mark.parametrize("elsewhere", ["https://evil.example/runs/", "javascript:alert(1)", "//evil.example/", ""])
def test_a_fragment_leads_to_no_other_site(client, preview, elsewhere):
    headers = {"HX-Request": "true", "HX-Current-URL": elsewhere}
    answer = client.post(reverse("trading:stop", args=[preview.run_id]), headers=headers)
    assert (answer.status_code, answer["HX-Redirect"]) == (204, reverse("admin:login"))


def test_a_form_of_an_earlier_login_gets_a_page_that_leads_back(person, preview):
    client = Client(enforce_csrf_checks=True)
    client.force_login(person)
    page = reverse("trading:run", args=[preview.run_id])
    old = client.get(page).context["csrf_token"]
    client.logout()
    token = client.get("/admin/login/").context["csrf_token"]
    client.post("/admin/login/", {"username": "tina", "password": "right", "csrfmiddlewaretoken": str(token)})
    answer = client.post(
        reverse("trading:execute", args=[preview.run_id]),
        {"plan_hash": preview.plan_hash, "csrfmiddlewaretoken": str(old)},
        headers={"referer": f"http://testserver{page}"},
    )
    text = answer.content.decode()
    assert answer.status_code == 403
    assert 'data-code="form_outdated"' in text and f'id="back" class="rb-button rb-primary" href="{page}"' in text
    assert not RebalanceRun.objects.filter(mode="execute").exists()


def test_the_api_answers_in_its_own_form(preview):
    client = Client(enforce_csrf_checks=True)
    answer = client.post(f"/api/runs/{preview.run_id}/execute", {}, content_type="application/json")
    assert (answer.status_code, answer.json()["code"]) == (401, "token_invalid")
