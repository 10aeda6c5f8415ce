"""The notifications page and its admin lists, and secrets of channels."""

import logging
import sys

import pytest
from django.contrib.auth.models import Permission, User
from pydantic import SecretStr

from trading.common.log_context import TextFormatter, redact
from trading.models import Delivery
from trading.notify.deliver import deliver_due

pytestmark = pytest.mark.django_db

PAGE = "/notifications/"
TEST = "/notifications/test/"


@pytest.fixture
def trader(client):
    user = User.objects.create_user("tess", is_staff=True)
    codenames = ("view_notification", "view_delivery", "execute_account")
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    client.force_login(user)
    return client


def test_page_shows_channels_without_secrets(trader, settings):
    settings.NOTIFICATION_URLS = (
        SecretStr("json://user:hunter2@127.0.0.1/topic-nobody-knows"),
        SecretStr("no-such://x"),
    )
    page = trader.get(PAGE).content.decode()
    assert "json://127.0.0.1/…" in page and "NOTIFICATION_URLS 2" in page
    assert "Unknown" in page
    assert "hunter2" not in page and "topic-nobody-knows" not in page


def test_page_and_admin_show_the_deliveries_of_each_channel(trader, notify, ntfy, hook):
    hook.status = 500
    message = notify(state="failed", error_code="x", error_message="The broker was away.")
    deliver_due()
    Delivery.objects.filter(state="pending").update(state="abandoned")
    for address in (PAGE, f"/admin/trading/notification/{message.pk}/change/", "/admin/trading/delivery/"):
        page = trader.get(address).content.decode()
        for text in ("USER_NOTIFICATIONS_CHANNEL", "Sent", "webhook mine", "Failed", "status 500"):
            assert text in page, (address, text)


def test_test_message_reaches_every_channel_and_names_those_that_fail(trader, ntfy, apprise):
    assert TEST in trader.get(PAGE).content.decode()
    assert "rb-good" in trader.post(TEST, follow=True).content.decode()
    assert "tess sent this message" in ntfy.requests[0][2] and "tess" in apprise.requests[0][2]
    ntfy.status = 500
    answer = trader.post(TEST, follow=True).content.decode()
    assert "Not accepted by: USER_NOTIFICATIONS_CHANNEL." in answer


def test_test_message_without_permission_or_channel_is_refused(trader, ntfy, settings):
    User.objects.get().user_permissions.remove(Permission.objects.get(codename="execute_account"))
    assert TEST not in trader.get(PAGE).content.decode()
    assert "accounts.execute_account" in trader.post(TEST, follow=True).content.decode()
    settings.USER_NOTIFICATIONS_ENABLED = False
    assert "No channel is configured" in trader.get(PAGE).content.decode()
    assert ntfy.requests == []


def test_log_line_with_traceback_contains_no_secret(settings):
    settings.ALLOCATIONS_API_KEY = SecretStr("canary-allocations")
    settings.REALTIME_API_KEY = SecretStr("canary-ably:key")
    settings.NOTIFICATION_URLS = (SecretStr("tgram://canary-token/1"),)
    settings.SECRET_KEY = "canary-secret-key"
    try:
        raise RuntimeError("with canary-ably:key inside")
    except RuntimeError:
        record = logging.LogRecord(
            "x", logging.ERROR, "", 0, "%s %s", ("canary-allocations", "tgram://canary-token/1"), sys.exc_info()
        )
    line = TextFormatter().format(record)
    assert "canary" not in line
    assert line.count("[redacted]") >= 3
    assert redact("canary-secret-key") == "[redacted]"
