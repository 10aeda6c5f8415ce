"""Situations in which the predecessor of this system lost events, one by one."""

from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from tests.support.ably_server import Fault
from tests.support.listening import QUICK, Listening, eventually, heartbeat
from tests.support.makers import policy, simulated_account, strategy
from tests.trading.listener.conftest import REBALANCE
from trading.models import Notification, ProcessHeartbeat, RebalanceRun
from trading.monitoring.doctor.registry import examine
from trading.schedule.sweeper import record_heartbeat

PREVIEW = '{"exec":"print-rebalance"}'


def test_burst_of_three_events_stores_all(ably, listening, inbox):
    ids = ably.publish_batch("blend", [{"data": REBALANCE}] * 3)
    events = inbox(*ids)
    assert [event.runs.get().state for event in events] == ["superseded", "superseded", "queued"]


def test_rebalance_between_two_previews_is_queued(ably, listening, inbox):
    inbox(*ably.publish_batch("blend", [{"data": PREVIEW}, {"data": REBALANCE}, {"data": PREVIEW}]))
    queued = RebalanceRun.objects.filter(state="queued")
    assert sorted(queued.values_list("mode", flat=True)) == ["execute", "preview"]


def test_events_published_while_the_listener_is_stopped_are_received(ably, blend, inbox):
    with Listening(ably) as listener:
        listener.until_attached("blend")
        first = ably.publish("blend", REBALANCE)
        inbox(first)
    ids = [first, *(ably.publish("blend", REBALANCE) for _ in range(5))]
    with Listening(ably):
        inbox(*ids)


def test_events_published_during_a_connection_loss_are_received(ably, listening, inbox):
    ably.inject(Fault.CONTINUITY_LOST)
    ids = ably.publish_batch("blend", [{"data": REBALANCE}] * 5, live=False)
    inbox(*ids)


def test_duplicate_message_id_creates_one_run(ably, listening, inbox):
    (message_id,) = ably.publish_batch("blend", [{"data": REBALANCE}], times=4)
    last = ably.publish("blend", PREVIEW)
    event, _ = inbox(message_id, last)
    assert (event.duplicates, event.runs.count()) == (3, 1)


def test_event_with_account_id_runs_that_account_only(ably, listening, inbox, blend):
    simulated_account("U2", {}, strategy=blend, policy=policy())
    message_id = ably.publish("blend", '{"exec":"rebalance","account_id":"U2"}')
    (event,) = inbox(message_id)
    assert [run.account.account_id for run in event.runs.all()] == ["U2"]


@pytest.fixture
def a_worker(transactional_db):
    record_heartbeat("worker:test:1", "worker")


@pytest.mark.parametrize(("key", "code"), [("app.key:wrong", "40101"), ("nonsense", "form of a key")])
def test_invalid_key_alerts_once_with_the_reason_and_is_retried(ably, blend, a_worker, client, key, code):
    with Listening(ably, key=key) as listener:
        health = listener.until("key refused")
        assert code in health.problem and "wrong" not in health.problem
        eventually(lambda: Notification.objects.filter(title="Ably refuses the key").exists(), "The alert")
        eventually(lambda: listener.listener.status.rebuilds >= 2, "Another attempt")
        assert Notification.objects.count() == 1
        eventually(lambda: heartbeat()["state"] == "key refused" and heartbeat()["refused"], "The heartbeat")
        assert client.get("/healthz").status_code == 503, "a refusal is unhealthy at once"
        assert {finding.status for finding in examine(["listener"])} == {"problem"}


def test_denied_channel_does_not_affect_the_others(ably, listening, inbox, blend):
    ably.allow({"*": ("subscribe", "history"), "secret": ()})
    simulated_account("U2", {}, strategy=strategy("secret", {"SPY": "1"}), policy=policy())
    health = listening.until("denied", "secret")
    assert "40160" in health.problem
    eventually(lambda: {finding.status for finding in examine(["listener"])} == {"problem"}, "The finding, at once")
    eventually(lambda: Notification.objects.filter(title="Ably refuses the channel secret").exists(), "The alert")
    seen = ably.seen("denied")
    ably.wait_for("denied", seen + 2)  # it is tried again, on the same connection
    inbox(ably.publish("blend", REBALANCE))
    assert listening.listener.status.rebuilds == 0
    assert Notification.objects.filter(title__contains="the channel secret").count() == 1
    ably.allow({"*": ("subscribe", "history")})
    listening.until_attached("secret")
    inbox(ably.publish("secret", REBALANCE), channel="secret")


@pytest.mark.parametrize("fault", [Fault.DISCONNECTED_WITHOUT_ERROR, Fault.STALL])
def test_heartbeat_of_a_stale_connection_reports_the_problem(ably, blend, fault):
    with Listening(ably, QUICK.model_copy(update={"unhealthy": 60, "reconcile": 60})) as listener:
        listener.until_attached("blend").until("listening")
        ably.inject(fault)
        eventually(lambda: heartbeat()["problem"] and heartbeat()["problem_since"], "The problem in the heartbeat")
        assert heartbeat()["state"] == "connected"  # as the SDK reports
        ably.set(stalled=False)


def test_healthz_is_ok_only_while_events_are_received(ably, blend, a_worker, client, settings):
    settings.REALTIME_API_KEY = type(settings.REALTIME_API_KEY)("app.key:secret")

    def health():
        answer = client.get("/healthz")
        return answer.status_code, answer.json()["listener"]

    assert health() == (503, "no heartbeat")
    with Listening(ably) as listener:
        listener.until_attached("blend").until("listening")
        eventually(lambda: health() == (200, "ok"), "A healthy listener")
        ably.allow({"*": ("publish", "history")})
        ably.inject(Fault.CONTINUITY_LOST)
        eventually(lambda: any(one["problem_since"] for one in heartbeat()["channels"]), "The problem")
    row = ProcessHeartbeat.objects.get(kind="listener")
    since = (timezone.now() - timedelta(minutes=2)).isoformat()
    unhealthy = [one | {"problem_since": since} for one in row.details["channels"]]
    record_heartbeat(
        row.name, "listener", **row.details | {"state": "listening", "problem_since": None, "channels": unhealthy}
    )
    assert health() == (503, f"{len(unhealthy)} of {len(unhealthy)} channels unhealthy")
    ProcessHeartbeat.objects.filter(pk=row.pk).update(at=timezone.now() - timedelta(seconds=31))
    assert health() == (503, "no heartbeat")
    assert client.get(reverse("admin:login")).status_code == 200
