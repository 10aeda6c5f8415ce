"""What pages may not tell, reports of breaches, and roles."""

import json
import logging
import re
import sys

import pytest
from django.contrib.auth.models import Group, User
from django.http import HttpResponse
from django.test import Client, RequestFactory
from django_q.models import OrmQ
from django_q.tasks import async_task
from pydantic import SecretStr

from trading.access.roles import ROLES, sync_roles
from trading.common.log_context import JsonLines, TextFormatter, configured_secrets, redact
from trading.pages.middleware import RedactingMiddleware

CANARIES = {
    "ALLOCATIONS_API_KEY": "canary-allocations-key",
    "REALTIME_API_KEY": "canary-app.key:canary-ably-secret",
    "SECRET_KEY": "canary-secret-key-of-the-site",
    "DATABASE_URL": "postgres://rebalancer:canary-database-word@db/rebalancer",
}
LEAK = re.compile("canary-[a-z]+-[a-z]+")  # not the word alone: a debug page shows the test's own source
CHANNELS = ("tgram://4711:canary-telegram-token/12345", "json://user:canary-basic-word@example.com/canary-path-token")


@pytest.fixture
def canaries(settings):
    for name, value in CANARIES.items():
        setattr(settings, name, value if name == "SECRET_KEY" else SecretStr(value))
    settings.NOTIFICATION_URLS = tuple(SecretStr(url) for url in CHANNELS)


@pytest.mark.parametrize(
    "text",
    [
        *CANARIES.values(),
        *CHANNELS,
        "wss://realtime/?key=canary-app.key%3Acanary-ably-secret&v=3",
        "only canary-ably-secret",
        "https://api.telegram.org/bot4711:canary-telegram-token/sendMessage",
        "POST /canary-path-token HTTP/1.1",
        "user canary-basic-word",
        "Authorization: Bearer rbt_canarycanarycanarycanary",
    ],
)
def test_every_form_of_a_secret_is_taken_out(canaries, text):
    assert "canary" not in redact(f"before {text} after")


def test_words_that_are_no_secret_stay(canaries):
    assert redact("https://example.com/ answered SPY 12345 user") == "https://example.com/ answered SPY 12345 user"


@pytest.mark.parametrize("form", [TextFormatter, JsonLines])
def test_a_line_with_a_secret_in_its_traceback(canaries, form):
    try:
        raise RuntimeError(CANARIES["ALLOCATIONS_API_KEY"])
    except RuntimeError:
        told = ("broke with %s", (CANARIES["REALTIME_API_KEY"],), sys.exc_info())
    record = logging.LogRecord("x", logging.ERROR, "", 0, *told)
    logging.Formatter().format(record)  # another handler has formatted, and kept, the traceback
    record.url = CHANNELS[0]  # and somebody has added a field
    line = form("%(message)s %(url)s").format(record)
    assert "Traceback" in line and "canary" not in line
    assert line.count("[redacted]") >= 3


@pytest.mark.parametrize("status", [200, 500])
def test_no_answer_holds_a_secret(canaries, status):
    body = " ".join([*CANARIES.values(), *CHANNELS])
    answer = RedactingMiddleware(lambda _: HttpResponse(body, status=status))(RequestFactory().get("/"))
    assert (answer.status_code, b"canary" in answer.content) == (status, False)


@pytest.mark.parametrize("debug", [False, True])
def test_an_error_page_holds_no_secret(canaries, settings, debug, monkeypatch, db):
    settings.DEBUG = debug

    def broken(*_):
        words = [*CANARIES.values(), *CHANNELS]  # a local variable, as a debug page shows them
        raise RuntimeError(" ".join(words))

    monkeypatch.setattr("trading.pages.csp.json.loads", broken)
    answer = Client(raise_request_exception=False).post("/csp-report/", "{}", content_type="application/csp-report")
    assert answer.status_code == 500
    assert LEAK.findall(answer.content.decode()) == []
    assert len(configured_secrets()) >= 8


def test_breaches_of_the_policy_are_logged_once_and_bounded(client, caplog, settings):
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "csp"}}
    breach = {"csp-report": {"effective-directive": "script-src", "blocked-uri": "https://evil.example.com/\nx"}}

    def send(body):
        return client.post("/csp-report/", body, content_type="application/csp-report").status_code

    assert [send(json.dumps(breach)), send(json.dumps(breach))] == [204, 204]
    lines = [record.getMessage() for record in caplog.records if "security policy" in record.getMessage()]
    assert len(lines) == 1 and "evil.example.com" in lines[0] and "\n" not in lines[0]
    assert [send("{"), send("[]"), send('{"csp-report": 1}'), send("x" * 20_000)] == [400, 400, 400, 413]
    assert client.get("/csp-report/").status_code == 405


def test_pages_ask_for_reports(client, db):
    assert "report-uri /csp-report/" in client.get("/admin/login/")["Content-Security-Policy"]


@pytest.mark.parametrize(
    ("role", "may", "may_not"),
    [
        ("viewer", ["accounts.view_account"], ["accounts.preview_account", "accounts.change_account"]),
        ("operator", ["accounts.preview_account", "trading.change_tradingcontrol"], ["accounts.execute_account"]),
        ("trader", ["accounts.execute_account"], ["accounts.change_account", "auth.change_user"]),
        ("admin", ["accounts.change_account", "auth.change_user"], ["accounts.delete_brokerconnection"]),
    ],
)
def test_roles(role, may, may_not, db):
    sync_roles()
    person = User.objects.create(username=role, is_staff=True)
    person.groups.add(Group.objects.get(name=role))
    assert all(person.has_perm(right) for right in may)
    assert not any(person.has_perm(right) for right in may_not)
    assert not any(codename.startswith(("add_schedule", "change_ormq")) for codename in ROLES[role])


def test_the_queue_is_shown_and_cannot_be_changed(client, db):
    sync_roles()
    async_task("trading.tasks.sweep")
    assert client.get("/queue/").status_code == 302
    viewer = User.objects.create(username="viewer", is_staff=True)
    viewer.groups.add(Group.objects.get(name="viewer"))
    client.force_login(viewer)
    page = client.get("/queue/").content.decode()
    assert "trading.tasks.sweep" in page and "No worker has ever run" in page
    assert "<form" not in page.split('id="content"')[1]
    assert client.post("/queue/").status_code == 405
    OrmQ.objects.update(payload="forged:payload")
    assert "Invalid signature (SECRET_KEY changed)" in client.get("/queue/").content.decode()
    boss = User.objects.create(username="boss", is_staff=True, is_superuser=True)
    client.force_login(boss)
    assert client.get("/admin/django_q/schedule/").status_code == 404
    assert "/queue/" in client.get("/admin/").content.decode()
