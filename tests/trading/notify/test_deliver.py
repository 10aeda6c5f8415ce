"""What people are told, and what no log may tell."""

import json
import logging
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import time_machine
from django.contrib.auth.models import Permission, User
from django.urls import reverse
from django.utils import timezone
from pydantic import SecretStr

from tests.support.makers import policy, queue, simulated_account
from trading.common.log_context import TextFormatter, redact
from trading.journal.outbox import announce
from trading.models import Notification, RebalanceRun
from trading.notify.deliver import deliver_due, targets
from trading.notify.retry import MAX_ATTEMPTS

pytestmark = pytest.mark.django_db


@pytest.fixture
def ntfy():
    """A server on loopback that takes what ntfy would; its status can be set."""
    taken, status = [], [200]

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            taken.append((self.path, self.headers, body))
            self.send_response(status[0])
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server, taken, status
    server.shutdown()
    server.server_close()


@pytest.fixture
def subscribed(ntfy, settings):
    server, taken, status = ntfy
    settings.USER_NOTIFICATIONS_ENABLED = True
    settings.USER_NOTIFICATIONS_CHANNEL = "my-rebalancer"
    settings.USER_NOTIFICATIONS_SERVER_URL = f"http://127.0.0.1:{server.server_address[1]}"
    return taken, status


def told(**fields):
    run = queue(simulated_account(f"U{RebalanceRun.objects.count()}", {"SPY": "1"}, policy=policy()))
    RebalanceRun.objects.filter(pk=run.pk).update(**fields)
    run.refresh_from_db()
    announce(run)
    return Notification.objects.order_by("-id").first()


def test_a_message_has_a_link_where_the_site_says_its_address(settings):
    assert "http" not in told(state="failed", error_code="x").body
    settings.SITE_URL = "https://rebalancer.test"
    run = told(state="failed", error_code="x").run
    assert (
        f"Look at it: https://rebalancer.test{reverse('trading:run', args=[run.run_id])}"
        in run.notifications.get().body
    )


@pytest.mark.parametrize(
    ("fields", "kind", "title"),
    [
        ({"state": "completed"}, "success", "Rebalance completed: U0"),
        (
            {"state": "completed", "warnings": [{"code": "x", "message": "Look."}]},
            "warning",
            "Rebalance completed with warnings: U0",
        ),
        ({"state": "failed", "error_code": "x"}, "failure", "Rebalance failed: U0"),
        ({"state": "refused", "error_code": "x"}, "failure", "Rebalance refused: U0"),
        ({"state": "refused", "error_code": "turnover_limit"}, "warning", "Rebalance waits for approval: U0"),
        ({"state": "needs_attention", "error_code": "x"}, "failure", "Rebalance needs attention: U0"),
        ({"state": "deferred", "error_code": "trade_guard"}, "blocked", "Rebalance deferred (trade guard): U0"),
        ({"state": "deferred", "error_code": "market_closed"}, "blocked", "Rebalance deferred (market closed): U0"),
    ],
)
def test_each_end_has_its_title(fields, kind, title):
    message = told(**fields)
    assert (message.kind, message.title) == (kind, title)


def test_a_message_is_delivered_once(subscribed):
    taken, _ = subscribed
    told(state="completed")
    assert deliver_due() == 1
    assert deliver_due() == 0
    path, headers, body = taken[0]
    content = (
        json.loads(body)
        if body.startswith(b"{")
        else {"message": body.decode(), "title": headers["X-Title"], "topic": path}
    )
    assert "my-rebalancer" in str(content) + path
    assert "Rebalance completed: U0" in str(content)
    assert Notification.objects.get().state == "sent"


def test_a_channel_that_is_down_is_tried_again_later_each_time_and_given_up_in_the_end(subscribed):
    taken, status = subscribed
    status[0] = 500
    message = told(state="completed")
    waits = []
    with time_machine.travel(timezone.now(), tick=False):
        for _ in range(MAX_ATTEMPTS):
            Notification.objects.update(next_attempt_at=timezone.now())
            deliver_due()
            message.refresh_from_db()
            waits.append((message.next_attempt_at - timezone.now()).total_seconds())
    assert waits[:4] == [5, 10, 20, 40]
    assert message.state == "abandoned"
    assert len(taken) >= MAX_ATTEMPTS


def test_without_a_channel_a_message_is_put_away():
    told(state="completed")
    assert deliver_due() == 0
    assert Notification.objects.get().state == "abandoned"


@pytest.mark.parametrize(
    ("server", "url"),
    [("https://ntfy.sh", "ntfys://ntfy.sh/topic"), ("http://10.0.0.5:8080", "ntfy://10.0.0.5:8080/topic")],
)
def test_the_names_of_existing_installations_become_apprise_urls(settings, server, url):
    settings.USER_NOTIFICATIONS_ENABLED, settings.USER_NOTIFICATIONS_CHANNEL = True, "topic"
    settings.USER_NOTIFICATIONS_SERVER_URL = server
    settings.NOTIFICATION_URLS = (SecretStr("json://127.0.0.1"),)
    assert targets() == ["json://127.0.0.1", url]


def test_no_secret_is_in_a_line_or_its_traceback(settings):
    settings.ALLOCATIONS_API_KEY = SecretStr("canary-allocations")
    settings.REALTIME_API_KEY = SecretStr("canary-ably:key")
    settings.NOTIFICATION_URLS = (SecretStr("tgram://canary-token/1"),)
    settings.SECRET_KEY = "canary-secret-key"
    try:
        raise RuntimeError("with canary-ably:key inside")
    except RuntimeError:
        import sys

        record = logging.LogRecord(
            "x", logging.ERROR, "", 0, "%s %s", ("canary-allocations", "tgram://canary-token/1"), sys.exc_info()
        )
    line = TextFormatter().format(record)
    assert "canary" not in line
    assert line.count("[redacted]") >= 3
    assert redact("canary-secret-key") == "[redacted]"


# ---- the page


@pytest.fixture
def trader(client):
    person = User.objects.create_user("tess", is_staff=True)
    person.user_permissions.set(Permission.objects.filter(codename__in=("view_notification", "execute_account")))
    client.force_login(person)
    return client


def test_the_page_shows_channels_without_their_secrets_and_the_messages_with_their_fate(trader, settings):
    settings.NOTIFICATION_URLS = (
        SecretStr("json://user:hunter2@127.0.0.1/topic-nobody-knows"),
        SecretStr("no-such://x"),
    )
    told(state="failed", error_code="x", error_message="The broker was away.")
    Notification.objects.update(state="abandoned", last_error="Not delivered after 12 attempts.")
    page = trader.get("/notifications/").content.decode()
    assert "json://127.0.0.1/…" in page and "✓ configured" in page
    assert "not understood" in page
    assert "hunter2" not in page and "topic-nobody-knows" not in page
    assert "Rebalance failed: U0" in page and "The broker was away." in page
    assert "Abandoned" in page and "Not delivered after 12 attempts." in page


def test_the_test_button_reaches_every_channel_and_says_when_one_does_not_answer(trader, subscribed):
    taken, status = subscribed
    assert "Send a test message" in trader.get("/notifications/").content.decode()
    assert "was handed to every channel" in trader.post("/notifications/test/", follow=True).content.decode()
    assert b"tess has sent this" in taken[0][2]
    status[0] = 500
    assert "did not take the message" in trader.post("/notifications/test/", follow=True).content.decode()


def test_without_a_channel_or_the_right_nothing_is_sent(trader, subscribed, settings):
    taken, _ = subscribed
    User.objects.get().user_permissions.remove(Permission.objects.get(codename="execute_account"))
    assert "Send a test message" not in trader.get("/notifications/").content.decode()
    assert "You may not send test messages" in trader.post("/notifications/test/", follow=True).content.decode()
    settings.USER_NOTIFICATIONS_ENABLED = False
    assert "nobody is told of a failure" in trader.get("/notifications/").content.decode()
    assert taken == []
