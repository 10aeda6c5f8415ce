"""What the system that this one follows has lost, case by case."""

from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from tests.support.ably_server import Fault
from tests.support.listening import QUICK, Listening, eventually, heartbeat
from tests.support.makers import policy, simulated_account, strategy
from tests.trading.listener.conftest import REBALANCE
from trading.models import Notification, ProcessHeartbeat, RebalanceRun
from trading.schedule.sweeper import record_heartbeat

PREVIEW = '{"exec":"print-rebalance"}'


def test_three_events_in_a_burst_are_all_stored(ably, listening, inbox):
    ids = ably.publish_batch("blend", [{"data": REBALANCE}] * 3)
    events = inbox(*ids)
    assert [event.runs.get().state for event in events] == ["superseded", "superseded", "queued"]


def test_a_live_rebalance_right_behind_a_preview_is_carried_out(ably, listening, inbox):
    inbox(*ably.publish_batch("blend", [{"data": PREVIEW}, {"data": REBALANCE}, {"data": PREVIEW}]))
    queued = RebalanceRun.objects.filter(state="queued")
    assert sorted(queued.values_list("mode", flat=True)) == ["execute", "preview"]


def test_what_was_published_while_it_was_down_is_found(ably, blend, inbox):
    with Listening(ably) as listener:
        listener.until_attached("blend")
        first = ably.publish("blend", REBALANCE)
        inbox(first)
    ids = [first, *(ably.publish("blend", REBALANCE) for _ in range(5))]
    with Listening(ably):
        inbox(*ids)


def test_what_was_published_while_it_was_away_for_long_is_found(ably, listening, inbox):
    ably.strike(Fault.CONTINUITY_LOST)
    ids = ably.publish_batch("blend", [{"data": REBALANCE}] * 5, live=False)
    inbox(*ids)


def test_a_duplicate_id_runs_once(ably, listening, inbox):
    (message_id,) = ably.publish_batch("blend", [{"data": REBALANCE}], times=4)
    last = ably.publish("blend", PREVIEW)
    event, _ = inbox(message_id, last)
    assert (event.duplicates, event.runs.count()) == (3, 1)


def test_an_account_id_is_heeded(ably, listening, inbox, blend):
    simulated_account("U2", {}, strategy=blend, policy=policy())
    message_id = ably.publish("blend", '{"exec":"rebalance","account_id":"U2"}')
    (event,) = inbox(message_id)
    assert [run.account.account_id for run in event.runs.all()] == ["U2"]


@pytest.mark.parametrize(("key", "code"), [("app.key:wrong", "40101"), ("nonsense", "form of a key")])
def test_a_wrong_key_is_loud_and_specific_and_tried_again_and_nothing_hangs(ably, blend, inbox, key, code):
    with Listening(ably, key=key) as listener:
        trouble = listener.until("key refused", "")
        assert code in trouble.problem and "wrong" not in trouble.problem
        eventually(lambda: Notification.objects.filter(title="Ably refuses the key").exists(), "The alarm")
        eventually(lambda: listener.listener.status.rebuilds >= 2, "Another try")
        assert Notification.objects.count() == 1
        eventually(lambda: heartbeat()["state"] == "key refused", "The heartbeat")


def test_a_denied_channel_does_not_take_the_others_along(ably, listening, inbox, blend):
    ably.allow({"*": ("subscribe", "history"), "secret": ()})
    simulated_account("U2", {}, strategy=strategy("secret", {"SPY": "1"}), policy=policy())
    trouble = listening.until("denied", "secret")
    assert "40160" in trouble.problem
    eventually(lambda: Notification.objects.filter(title="Ably refuses the channel secret").exists(), "The alarm")
    seen = ably.seen("denied")
    ably.wait_for("denied", seen + 2)  # it is tried again, on the same connection
    inbox(ably.publish("blend", REBALANCE))
    assert listening.listener.status.rebuilds == 0
    assert Notification.objects.filter(title__contains="the channel secret").count() == 1
    ably.allow({"*": ("subscribe", "history")})
    listening.until_attached("secret")
    inbox(ably.publish("secret", REBALANCE), channel="secret")


@pytest.mark.parametrize("fault", [Fault.DISCONNECTED_WITHOUT_ERROR, Fault.STALL])
def test_while_it_is_deaf_its_status_says_so(ably, blend, fault):
    with Listening(ably, QUICK.model_copy(update={"bad": 60, "reconcile": 60})) as listener:
        listener.until_attached("blend").until("listening", "")
        ably.strike(fault)
        eventually(lambda: heartbeat()["problem"] and heartbeat()["trouble_since"], "The heartbeat's word of it")
        assert heartbeat()["state"] == "connected"  # which is what the SDK says
        ably.set(stalled=False)


@pytest.fixture
def a_worker(transactional_db):
    record_heartbeat("worker:test:1", "worker")


def test_the_health_check_passes_only_while_it_hears(ably, blend, a_worker, client, settings):
    settings.REALTIME_API_KEY = type(settings.REALTIME_API_KEY)("app.key:secret")

    def health():
        answer = client.get("/healthz")
        return answer.status_code, answer.json()["listener"]

    assert health() == (503, "no sign of life")
    with Listening(ably) as listener:
        listener.until_attached("blend").until("listening", "")
        eventually(lambda: health() == (200, "ok"), "A healthy listener")
        ably.allow({"*": ("publish", "history")})
        ably.strike(Fault.CONTINUITY_LOST)
        eventually(lambda: any(one["trouble_since"] for one in heartbeat()["channels"]), "The trouble")
    row = ProcessHeartbeat.objects.get(kind="listener")
    since = (timezone.now() - timedelta(minutes=2)).isoformat()
    deaf = [one | {"trouble_since": since} for one in row.details["channels"]]
    record_heartbeat(
        row.name, "listener", **row.details | {"state": "listening", "trouble_since": None, "channels": deaf}
    )
    assert health() == (503, f"{len(deaf)} of {len(deaf)} channels not heard")
    ProcessHeartbeat.objects.filter(pk=row.pk).update(at=timezone.now() - timedelta(seconds=31))
    assert health() == (503, "no sign of life")
    assert client.get(reverse("admin:login")).status_code == 200
