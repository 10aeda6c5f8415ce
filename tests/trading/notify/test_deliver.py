"""Deliveries: one for each channel, with attempts of its own."""

import json
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.urls import reverse
from django.utils import timezone
from django_q.models import OrmQ
from pydantic import SecretStr

from trading.models import Delivery, Notification
from trading.notify import apprise_channel
from trading.notify.channels import channels
from trading.notify.deliver import MAX_ATTEMPTS, _claim, deliver_due
from trading.schedule.sweeper import sweep
from trading.tasks import deliver_notifications

pytestmark = pytest.mark.django_db

NTFY = "USER_NOTIFICATIONS_CHANNEL"
APPRISE = "NOTIFICATION_URLS 1"
HOOK = "webhook mine"
NOON = datetime(2026, 1, 5, 17, tzinfo=UTC)


def states():
    return dict(Delivery.objects.order_by("id").values_list("channel", "state"))


def make_due():
    Delivery.objects.update(next_attempt_at=timezone.now())


@pytest.mark.parametrize(
    ("fields", "kind", "title"),
    [
        ({"state": "completed"}, "success", "Rebalance completed: U0"),
        (
            {"state": "completed", "warnings": [{"code": "x", "message": "Look."}]},
            "warning",
            "Rebalance completed with warnings: U0",
        ),
        (
            {"state": "completed", "warnings": [{"code": "weights_below_one", "message": "Look."}]},
            "success",
            "Rebalance completed: U0",
        ),
        ({"state": "completed", "outcome": "nothing_to_do"}, "success", "Rebalance found nothing to trade: U0"),
        (
            {
                "state": "completed",
                "outcome": "partly_done",
                "warnings": [{"code": "order_rejected", "message": "No."}],
            },
            "warning",
            "Rebalance partly done: U0",
        ),
        ({"state": "completed", "approval_until": NOON}, "success", "Rebalance completed: U0"),
        ({"state": "completed", "outcome": "stopped"}, "warning", "Rebalance stopped: U0"),
        ({"state": "completed", "outcome": "failed"}, "failure", "Rebalance failed: U0"),
        ({"state": "failed", "error_code": "x"}, "failure", "Rebalance failed: U0"),
        ({"state": "failed", "error_code": "resolved_manually"}, "failure", "Rebalance resolved manually: U0"),
        ({"state": "refused", "error_code": "x"}, "failure", "Rebalance refused: U0"),
        ({"state": "refused", "error_code": "turnover_limit"}, "warning", "Rebalance waits for approval: U0"),
        ({"state": "needs_attention", "error_code": "x"}, "failure", "Rebalance needs attention: U0"),
        ({"state": "deferred", "error_code": "trade_guard"}, "blocked", "Rebalance deferred (trade guard): U0"),
        ({"state": "deferred", "error_code": "market_closed"}, "blocked", "Rebalance deferred (market closed): U0"),
    ],
)
def test_notification_of_each_outcome_has_its_kind_and_title(notify, fields, kind, title):
    message = notify(**fields)
    assert (message.kind, message.title) == (kind, title)


def test_notification_links_to_the_run_only_with_a_site_url(notify, settings):
    assert "http" not in notify(state="failed", error_code="x").body
    settings.SITE_URL = "https://rebalancer.test"
    message = notify(state="failed", error_code="x")
    assert f": https://rebalancer.test{reverse('trading:run', args=[message.run.run_id])}" in message.body


@pytest.mark.parametrize(
    ("server", "url"),
    [("https://ntfy.sh", "ntfys://ntfy.sh/topic"), ("http://10.0.0.5:8080", "ntfy://10.0.0.5:8080/topic")],
)
def test_channels_include_ntfy_settings_as_an_apprise_url(settings, server, url):
    settings.USER_NOTIFICATIONS_ENABLED, settings.USER_NOTIFICATIONS_CHANNEL = True, "topic"
    settings.USER_NOTIFICATIONS_SERVER_URL = server
    settings.NOTIFICATION_URLS = (SecretStr("json://127.0.0.1"),)
    assert [(channel.name, channel.url) for channel in channels()] == [(APPRISE, "json://127.0.0.1"), (NTFY, url)]
    assert "topic" not in repr(channels())


def test_deliver_due_sends_each_channel_one_copy(notify, ntfy, apprise, hook):
    notify(state="completed")
    assert deliver_notifications() == 3
    assert deliver_notifications() == 0
    assert states() == {APPRISE: "sent", NTFY: "sent", HOOK: "sent"}
    for receiver in (ntfy, apprise, hook):
        ((path, headers, body),) = receiver.requests
        assert "Rebalance completed: U0" in f"{path} {headers['X-Title']} {body}"
    assert "my-rebalancer" in ntfy.requests[0][0] + ntfy.requests[0][2]


@pytest.mark.parametrize("down", [NTFY, APPRISE, HOOK])
def test_deliver_due_with_one_channel_down_retries_only_that_channel(notify, ntfy, apprise, hook, down):
    receivers = {NTFY: ntfy, APPRISE: apprise, HOOK: hook}
    receivers[down].status = 503
    notify(state="completed")
    assert deliver_due() == 2
    for _ in range(3):
        make_due()
        assert deliver_due() == 0
    assert {name: len(receiver.requests) for name, receiver in receivers.items()} == dict.fromkeys(receivers, 1) | {
        down: 4
    }
    failing = Delivery.objects.get(state="pending")
    assert (failing.channel, failing.attempts, bool(failing.last_error)) == (down, 4, True)
    receivers[down].status = 200
    make_due()
    assert deliver_due() == 1
    assert states() == dict.fromkeys(receivers, "sent")
    assert {name: len(receiver.requests) for name, receiver in receivers.items() if name != down} == {
        name: 1 for name in receivers if name != down
    }
    failing.refresh_from_db()
    assert (failing.last_error, failing.sent_at is not None) == ("", True)


def test_deliver_due_with_an_unexpected_error_sends_to_the_other_channels(notify, ntfy, apprise, hook, monkeypatch):
    def send(*_):
        raise RuntimeError("broken")

    monkeypatch.setattr(apprise_channel, "send", send)
    notify(state="completed")
    assert deliver_due() == 1
    assert states() == {APPRISE: "pending", NTFY: "pending", HOOK: "sent"}


def test_deliver_due_with_a_long_backlog_of_one_channel_serves_the_others(notify, ntfy, hook):
    ntfy.status = 500
    message = notify(state="completed")
    Delivery.objects.filter(channel=HOOK).delete()
    for _ in range(60):
        message.deliveries.create(channel=NTFY)
    notify(state="completed")
    assert deliver_due(limit=5) == 1
    assert len(ntfy.requests) == 1, "a failing channel is skipped until the next call"
    assert len(hook.requests) == 1


def test_deliver_due_after_a_failure_tries_the_other_deliveries_of_the_channel_first(notify, ntfy):
    ntfy.status = 500
    first, second = (notify(state="completed").deliveries.get() for _ in range(2))
    with time_machine.travel(timezone.now(), tick=False) as travel:
        deliver_due()
        travel.shift(timedelta(minutes=1))
        deliver_due()
    assert (Delivery.objects.get(pk=first.pk).attempts, Delivery.objects.get(pk=second.pk).attempts) == (1, 1)


def test_delivery_that_always_fails_waits_longer_each_time_and_fails_in_the_end(notify, ntfy):
    ntfy.status = 500
    delivery = notify(state="completed").deliveries.get()
    waits = []
    with time_machine.travel(timezone.now(), tick=False):
        for _ in range(MAX_ATTEMPTS + 1):
            make_due()
            deliver_due()
            delivery.refresh_from_db()
            waits.append((delivery.next_attempt_at - timezone.now()).total_seconds())
    assert waits[:4] == [5, 10, 20, 40]
    assert (max(waits), delivery.state, delivery.attempts, len(ntfy.requests)) == (3600, "abandoned", 12, 12)
    assert delivery.get_state_display() == "Failed"


def test_claim_of_a_delivery_succeeds_in_one_process_only(notify, ntfy):
    delivery = notify(state="completed").deliveries.get()
    same = Delivery.objects.get(pk=delivery.pk)
    assert _claim(delivery)
    assert not _claim(same)
    assert Delivery.objects.get().attempts == 1


def test_delivery_to_a_removed_channel_is_retried_and_sent_when_it_is_back(notify, ntfy, settings):
    notify(state="completed")
    settings.USER_NOTIFICATIONS_ENABLED = False
    assert deliver_due() == 0
    assert "not configured" in Delivery.objects.get().last_error
    settings.USER_NOTIFICATIONS_ENABLED = True
    make_due()
    assert deliver_due() == 1


def test_notification_without_channels_has_no_deliveries(notify):
    assert notify(state="completed").deliveries.count() == 0
    assert deliver_due() == 0


def test_stored_rows_contain_no_secret_of_a_channel(notify, apprise):
    apprise.status = 500
    notify(state="completed")
    deliver_due()
    stored = str(list(Delivery.objects.values())) + str(list(Notification.objects.values()))
    assert "hunter2" not in stored and "secret-topic" not in stored and apprise.address not in stored


def test_sweep_wakes_the_outbox_only_while_a_delivery_is_due(notify, ntfy):
    def hints():
        return [task for task in OrmQ.objects.all() if task.func() == "trading.tasks.deliver_notifications"]

    notify(state="completed")
    OrmQ.objects.all().delete()
    sweep()
    assert len(hints()) == 1
    deliver_due()
    OrmQ.objects.all().delete()
    sweep()
    assert hints() == []


def test_json_channel_receives_title_and_body(notify, apprise):
    notify(state="failed", error_code="x", error_message="The broker was unreachable.")
    deliver_due()
    content = json.loads(apprise.requests[0][2])
    assert content["title"] == "Rebalance failed: U0"
    assert "The broker was unreachable." in content["message"]
