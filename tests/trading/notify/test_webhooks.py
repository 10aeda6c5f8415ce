"""Webhooks: signed, retried, and sent to allowed addresses only."""

import base64
import hashlib
import hmac
import json

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from trading.models import Delivery, Webhook
from trading.notify.deliver import MAX_ATTEMPTS, deliver_due
from trading.notify.webhooks import signature, signing_key, signing_secret

pytestmark = pytest.mark.django_db


@pytest.fixture
def admin_client_of_boss(client):
    client.force_login(User.objects.create(username="boss", is_staff=True, is_superuser=True))
    return client


def test_signature_equals_the_published_example():
    """Source: the test vectors of the Standard Webhooks libraries."""
    key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    signed = signature(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, '{"test": 2432232314}')
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_webhook_receives_a_notification_once_with_a_valid_signature(notify, hook):
    run = notify(state="completed").run
    assert deliver_due() == 1
    assert deliver_due() == 0
    ((_, headers, body),) = hook.requests
    content = json.loads(body)
    assert (content["run"]["run_id"], content["run"]["state"], content["kind"]) == (run.run_id, "completed", "success")
    key = base64.b64decode(signing_secret(hook.webhook).removeprefix("whsec_"))
    assert len(key) == 32
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.{body}".encode()
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    assert abs(int(headers["webhook-timestamp"]) - timezone.now().timestamp()) < 60
    assert headers["webhook-id"] == str(Delivery.objects.get().delivery_id)


@pytest.mark.parametrize("status", [500, 302, 404])
def test_webhook_with_an_error_status_is_retried_with_the_same_id_and_fails_in_the_end(notify, hook, status):
    hook.status = status
    notify(state="completed")
    for _ in range(MAX_ATTEMPTS):
        Delivery.objects.update(next_attempt_at=timezone.now())
        assert deliver_due() == 0
    row = Delivery.objects.get()
    assert (row.state, len(hook.requests)) == ("abandoned", MAX_ATTEMPTS)
    assert {headers["webhook-id"] for _, headers, _ in hook.requests} == {str(row.delivery_id)}
    assert str(status) in row.last_error


@pytest.mark.parametrize("url", ["https://127.1/hook", "http://example.com/", "https://localhost/"])
def test_webhook_with_a_forbidden_address_is_not_sent(notify, hook, settings, url):
    settings.PRIVATE_NETWORK_ACCESS = False
    Webhook.objects.update(url=url)
    notify(state="completed")
    assert deliver_due() == 0
    assert "must be https" in Delivery.objects.get().last_error


def test_webhook_that_is_disabled_gets_no_delivery(notify, hook):
    Webhook.objects.update(enabled=False)
    notify(state="completed")
    assert not Delivery.objects.exists()


def test_webhook_that_is_disabled_later_is_not_sent(notify, hook):
    notify(state="completed")
    Webhook.objects.update(enabled=False)
    assert deliver_due() == 0
    assert hook.requests == []


def test_admin_action_renew_key_changes_the_signing_secret(hook, admin_client_of_boss):
    before = signing_key(hook.webhook)
    page = admin_client_of_boss.post(
        "/admin/trading/webhook/", {"action": "renew_key", "_selected_action": [hook.webhook.pk]}, follow=True
    ).content.decode()
    hook.webhook.refresh_from_db()
    assert signing_key(hook.webhook) != before and signing_secret(hook.webhook) in page


def test_admin_form_refuses_a_forbidden_address_and_shows_the_secret_of_a_new_webhook(admin_client_of_boss):
    form = {"name": "x", "url": "https://127.0.0.1/", "enabled": "on"}
    page = admin_client_of_boss.post("/admin/trading/webhook/add/", form)
    assert "must be https" in page.content.decode() and not Webhook.objects.exists()
    form["url"] = "https://hooks.example.com/x"
    page = admin_client_of_boss.post("/admin/trading/webhook/add/", form, follow=True)
    assert signing_secret(Webhook.objects.get()) in page.content.decode()
