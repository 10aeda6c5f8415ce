"""Webhooks: signed, retried, and only to where they may go."""

import hashlib
import hmac
import json
import threading
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from tests.support.makers import policy, queue, simulated_account
from trading.journal.outbox import announce
from trading.models import Webhook, WebhookDelivery
from trading.notify.retry import MAX_ATTEMPTS
from trading.notify.webhooks import deliver_due, signing_key
from trading.tasks import deliver_notifications

pytestmark = pytest.mark.django_db


@pytest.fixture
def receiver(settings):
    """Somebody's server on loopback, which private network access lets us reach; its status can be set."""
    settings.PRIVATE_NETWORK_ACCESS = True
    taken, status = [], [204]

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            taken.append((self.headers, self.rfile.read(int(self.headers["Content-Length"])).decode()))
            self.send_response(status[0])
            self.send_header("Location", "http://127.0.0.1:9/")
            self.end_headers()

        def log_message(self, *args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    webhook = Webhook.objects.create(name="mine", url=f"http://127.0.0.1:{server.server_address[1]}/hook")
    yield webhook, taken, status
    server.shutdown()
    server.server_close()


def ended_run(state="completed"):
    run = queue(simulated_account("U1", {"SPY": "1"}, policy=policy()))
    run.state = state
    run.save()
    announce(run)
    return run


def test_what_people_are_told_goes_out_signed_and_once(receiver):
    webhook, taken, _ = receiver
    run = ended_run()
    assert deliver_notifications() == 1
    assert deliver_notifications() == 0
    headers, body = taken[0]
    content = json.loads(body)
    assert (content["run"]["run_id"], content["run"]["state"], content["kind"]) == (run.run_id, "completed", "success")
    parts = dict(part.split("=") for part in headers["X-Rebalancer-Signature"].split(","))
    signed = f"{parts['t']}.{body}".encode()
    assert hmac.new(signing_key(webhook).encode(), signed, hashlib.sha256).hexdigest() == parts["v1"]
    assert abs(int(parts["t"]) - timezone.now().timestamp()) < 60
    assert headers["X-Rebalancer-Delivery"] == str(WebhookDelivery.objects.get().delivery_id)


@pytest.mark.parametrize("answer", [500, 302, 404])
def test_what_is_not_taken_is_sent_again_later_each_time_and_given_up_in_the_end(receiver, answer):
    _, taken, status = receiver
    status[0] = answer
    ended_run()
    waits = []
    for _ in range(MAX_ATTEMPTS):
        WebhookDelivery.objects.update(next_attempt_at=timezone.now())
        assert deliver_due() == 0
        waits.append((WebhookDelivery.objects.get().next_attempt_at - timezone.now()) // timedelta(seconds=1))
    row = WebhookDelivery.objects.get()
    assert (waits[:3], row.state, len(taken)) == ([4, 9, 19], "abandoned", MAX_ATTEMPTS)
    assert str(answer) in row.last_error


@pytest.mark.parametrize("url", ["https://127.1/hook", "http://example.com/", "https://localhost/"])
def test_where_it_may_not_go_nothing_goes(receiver, settings, url):
    settings.PRIVATE_NETWORK_ACCESS = False
    Webhook.objects.update(url=url)
    ended_run()
    assert deliver_due() == 0
    assert "must be https" in WebhookDelivery.objects.get().last_error


def test_a_disabled_webhook_gets_nothing(receiver):
    Webhook.objects.update(enabled=False)
    ended_run()
    assert not WebhookDelivery.objects.exists()


def test_a_new_key_signs_differently(receiver, client):
    webhook, _, _ = receiver
    before = signing_key(webhook)
    client.force_login(User.objects.create(username="boss", is_staff=True, is_superuser=True))
    page = client.post(
        "/admin/trading/webhook/", {"action": "renew_key", "_selected_action": [webhook.pk]}, follow=True
    ).content.decode()
    webhook.refresh_from_db()
    assert signing_key(webhook) != before and signing_key(webhook) in page


def test_the_admin_refuses_an_address_inside(client, db):
    client.force_login(User.objects.create(username="boss", is_staff=True, is_superuser=True))
    page = client.post("/admin/trading/webhook/add/", {"name": "x", "url": "https://127.0.0.1/", "enabled": "on"})
    assert "must be https" in page.content.decode() and not Webhook.objects.exists()
    page = client.post(
        "/admin/trading/webhook/add/", {"name": "x", "url": "https://hooks.example.com/x", "enabled": "on"}, follow=True
    )
    assert signing_key(Webhook.objects.get()) in page.content.decode()
