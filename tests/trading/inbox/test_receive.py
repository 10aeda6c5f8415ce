"""The inbox: the outcome of a message, whatever its content."""

import json
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from django_q.models import OrmQ

from accounts.models import Strategy
from tests.support.makers import policy, queue, simulated_account, strategy
from trading.inbox.receive import receive_event
from trading.journal.claims import requeue_due_runs
from trading.journal.queueing import queue_runs
from trading.models import EventSource, Notification, RebalanceRun, RunMode, StrategyEvent
from trading.models.run_documents import ExecCommand, Unreadable

pytestmark = pytest.mark.django_db


@pytest.fixture
def account(db):
    return simulated_account("U1", {"SPY": "1"}, strategy=strategy("blend", {"SPY": "1"}), policy=policy())


def receive(payload, channel="blend", message_id="m-1", **fields):
    return receive_event(source=EventSource.ABLY, channel=channel, message_id=message_id, payload=payload, **fields)


GOOD = {"exec": "rebalance"}


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        ("not json", "payload_not_json"),
        ("[]", "payload_not_json"),
        ("3", "payload_not_json"),
        ("null", "payload_not_json"),
        ([1], "payload_not_json"),
        ({}, "payload_invalid"),
        ({"exec": ""}, "payload_invalid"),
        ({"exec": 3}, "payload_invalid"),
        ({"exec": None}, "payload_invalid"),
        ({"exec": "liquidate"}, "unknown_exec"),
        ({"exec": "REBALANCE"}, "unknown_exec"),
        (GOOD | {"account_id": "NOBODY"}, "unknown_account"),
        (GOOD | {"account_id": ""}, "payload_invalid"),
        (GOOD | {"account_id": "OTHER"}, "account_of_other_strategy"),
    ],
)
def test_receive_invalid_message_stores_it_as_rejected_without_runs(account, payload, code):
    simulated_account("OTHER", {"SPY": "1"}, policy=policy())
    event = receive(payload)
    assert (event.state, event.reason_code) == ("rejected", code)
    assert event.reason.endswith(".")
    assert StrategyEvent.objects.get().payload == (payload if isinstance(payload, str) else json.dumps(payload))
    assert not RebalanceRun.objects.exists() and not OrmQ.objects.exists()


@pytest.mark.parametrize(
    ("channel", "code"), [("nothing", "unknown_strategy"), ("off", "strategy_disabled"), ("lonely", "no_accounts")]
)
def test_receive_for_unusable_channel_is_rejected(account, channel, code):
    Strategy.objects.create(name="off", enabled=False)
    Strategy.objects.create(name="lonely")
    assert receive(GOOD, channel=channel).reason_code == code


@pytest.mark.parametrize(
    "payload", [GOOD, json.dumps(GOOD), json.dumps(json.dumps(GOOD)), GOOD | {"eventId": 7, "unheard": [1]}]
)
def test_receive_object_or_json_text_is_accepted(account, payload):
    event = receive(payload)
    assert (event.state, event.exec) == ("accepted", "rebalance")
    run = event.runs.get()
    assert (run.state, run.mode, run.account) == ("queued", "execute", account)
    assert OrmQ.objects.count() == 1


def test_receive_same_message_twice_counts_a_duplicate(account):
    first, second = receive(GOOD), receive(GOOD)
    assert first.pk == second.pk
    assert second.duplicates == 1
    assert RebalanceRun.objects.count() == 1


def test_receive_same_id_with_different_content_is_rejected_as_conflict(account):
    receive(GOOD)
    event = receive({"exec": "print-rebalance"})
    assert (event.state, event.reason_code) == ("rejected", "conflicting_duplicate")
    assert receive({"exec": "print-rebalance"}).pk == event.pk
    assert RebalanceRun.objects.count() == 1


def test_receive_with_account_id_queues_only_that_account(account):
    simulated_account("U2", {}, strategy=account.strategy, policy=policy())
    event = receive(GOOD | {"account_id": "U2"})
    assert [run.account.account_id for run in event.runs.all()] == ["U2"]


def test_receive_newer_events_supersede_queued_runs(account):
    first, second, third = (receive(GOOD, message_id=str(i)).runs.get() for i in range(3))
    first.refresh_from_db()
    second.refresh_from_db()
    assert (first.state, second.state, third.state) == ("superseded", "superseded", "queued")


def test_receive_older_event_later_is_superseded(account):
    now = timezone.now()
    newest = receive(GOOD, message_id="b", published_at=now).runs.get()
    late = receive(GOOD, message_id="a", published_at=now - timedelta(minutes=1)).runs.get()
    newest.refresh_from_db()
    assert (newest.state, late.state) == ("queued", "superseded")


def test_receive_for_many_accounts_has_constant_queries_and_a_reason_for_each(account):
    def follow(start, stop):
        for number in range(start, stop):
            fields = {"strategy": account.strategy, "policy": account.policy, "connection": account.connection}
            simulated_account(f"N{number}", {}, enabled=number % 2 == 0, **fields)

    follow(0, 4)
    receive(GOOD, message_id="first")
    with CaptureQueriesContext(connection) as few:
        receive(GOOD, message_id="few")
    follow(4, 20)
    receive(GOOD, message_id="more")
    with CaptureQueriesContext(connection) as many:
        event = receive(GOOD, message_id="many")
    assert len(many) == len(few)
    refused = event.runs.filter(state="refused")
    assert {(run.account.account_id, run.error_code, run.step) for run in refused} == {
        (f"N{number}", "account_disabled", "done") for number in range(1, 20, 2)
    }
    assert all(
        run.finished_at and run.timeline.get().message == f"Account {run.account} is disabled. Enable it in the admin."
        for run in refused
    )
    assert event.runs.filter(state="queued").count() == 11
    assert RebalanceRun.objects.filter(state="superseded").count() == 3 + 3 + 11


def test_receive_preview_and_execution_do_not_supersede_each_other(account):
    receive(GOOD, message_id="a")
    receive({"exec": "print-rebalance"}, message_id="b")
    assert sorted(RebalanceRun.objects.values_list("mode", "state")) == [("execute", "queued"), ("preview", "queued")]


@pytest.mark.parametrize(
    ("what", "state", "modes"),
    [("preview", "late", ["preview"]), ("run", "late", ["execute"]), ("skip", "rejected", [])],
)
def test_receive_late_event_follows_the_strategys_policy(account, what, state, modes):
    Strategy.objects.update(late_event_policy=what)
    event = receive(GOOD, published_at=timezone.now() - timedelta(hours=1))
    assert (event.state, event.reason_code) == (state, "late_event")
    assert [run.mode for run in event.runs.all()] == modes


def test_requeue_due_queues_a_deferred_run_when_due(account):
    run = queue(account)
    RebalanceRun.objects.update(state="deferred", not_before=timezone.now() + timedelta(hours=1))
    assert requeue_due_runs() == []
    RebalanceRun.objects.update(not_before=timezone.now() - timedelta(seconds=1))
    (newer,) = queue_runs(StrategyEvent.objects.get(), [account], RunMode.PREVIEW)
    assert [due.pk for due in requeue_due_runs()] == [run.pk]
    run.refresh_from_db()
    newer.refresh_from_db()
    assert (run.state, newer.state) == ("queued", "queued")


def test_receive_failing_at_the_wakeup_stores_nothing(account, monkeypatch):
    monkeypatch.setattr("trading.inbox.receive.wake_slot", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        receive(GOOD)
    assert not StrategyEvent.objects.exists() and not RebalanceRun.objects.exists()


def test_request_run_stores_an_event_of_the_command(account):
    run = queue(account, ExecCommand.PRINT_REBALANCE)
    assert (run.event.source, run.event.account_id, run.mode) == ("command", "U1", "preview")


def test_receive_events_of_the_same_time_are_ordered_by_serial(account):
    now = timezone.now()
    newest = receive(GOOD, message_id="b", published_at=now, serial="0002@a").runs.get()
    older = receive(GOOD, message_id="a", published_at=now, serial="0001@a").runs.get()
    newest.refresh_from_db()
    assert (newest.state, older.state) == ("queued", "superseded")


@pytest.mark.parametrize(
    ("became", "state"), [("running", "superseded"), ("completed", "superseded"), ("failed", "queued")]
)
def test_receive_older_event_after_a_newer_run_is_superseded(account, became, state):
    now = timezone.now()
    receive(GOOD, message_id="b", published_at=now)
    RebalanceRun.objects.update(state=became)
    late = receive(GOOD, message_id="a", published_at=now - timedelta(minutes=1)).runs.get()
    preview = receive({"exec": "print-rebalance"}, message_id="c", published_at=now - timedelta(minutes=1)).runs.get()
    assert (late.state, preview.state) == (state, "queued")


def test_receive_undecodable_payload_is_rejected_though_it_parses(account):
    event = receive(Unreadable(content=json.dumps(GOOD), why="its encoding is unknown"))
    assert (event.state, event.reason_code, event.runs.count()) == ("rejected", "payload_undecodable", 0)


@pytest.mark.parametrize("payload", [GOOD | {"account_id": "OTHER"}, [], None, 3, {"exec": "sell-all"}])
def test_receive_repeated_rejections_send_one_notification(account, payload):
    for number in range(3):
        receive(payload, message_id=str(number))
    notification = Notification.objects.get()
    assert notification.title.startswith("Event rejected: blend (")
    assert StrategyEvent.objects.filter(state="rejected").count() == 3


def test_receive_late_and_conflicting_events_send_notifications(account):
    receive(GOOD, message_id="ordinary")
    receive(GOOD, message_id="ordinary")
    assert not Notification.objects.exists()
    receive({"exec": "print-rebalance"}, message_id="ordinary")
    receive(GOOD, message_id="late", published_at=timezone.now() - timedelta(hours=1))
    assert sorted(Notification.objects.values_list("title", flat=True)) == [
        "Event late: blend (late_event)",
        "Event rejected: blend (conflicting_duplicate)",
    ]


def test_receive_rejected_command_sends_no_notification(account):
    receive_event(source=EventSource.COMMAND, channel="", message_id="m", payload={"exec": "x", "account_id": "U1"})
    assert StrategyEvent.objects.get().state == "rejected"
    assert not Notification.objects.exists()


def test_event_outcomes_are_shown_on_the_page_in_the_admin_and_by_the_command(account, admin_client, capsys):
    now = timezone.now()
    receive(GOOD, message_id="older", published_at=now - timedelta(seconds=2))
    receive(GOOD, message_id="newer", published_at=now)
    receive(GOOD, message_id="newer", published_at=now)
    receive([], message_id="bad")
    receive(GOOD, message_id="late", published_at=now - timedelta(hours=1))
    call_command("events")
    command = capsys.readouterr().out
    for text in (
        admin_client.get(reverse("trading:events")).content.decode().lower(),
        admin_client.get(reverse("admin:trading_strategyevent_changelist")).content.decode().lower(),
        command.lower(),
    ):
        for word in ("accepted", "rejected", "not an object", "late", "superseded"):
            assert word in text, word
    assert "came 2 times" in command
    call_command("events", "--json")
    lines = {line["message_id"]: line for line in json.loads(capsys.readouterr().out)}
    assert [lines[name]["state"] for name in ("older", "newer", "bad", "late")] == [
        "accepted",
        "accepted",
        "rejected",
        "late",
    ]


@pytest.mark.parametrize("source", ["ably", "api"])
def test_receive_event_published_in_the_future_is_ordered_by_its_receipt(account, source):
    """A clock that is ahead must not make an event newer than all those of the next hour."""
    ahead = receive(GOOD, message_id="ahead", published_at=timezone.now() + timedelta(hours=1))
    assert (ahead.state, ahead.reason_code) == ("accepted", "published_ahead")
    assert Notification.objects.get().title == "Event accepted: blend (published_ahead)"
    event = receive_event(source=EventSource(source), channel="blend", message_id="next", payload=GOOD)
    assert event.runs.get().state == "queued"
    assert ahead.runs.get().state == "superseded"


def test_receive_event_a_moment_ahead_keeps_its_time(account):
    at = timezone.now() + timedelta(seconds=1)
    event = receive(GOOD, published_at=at)
    assert (event.published_at, event.reason_code) == (at, "")


@pytest.mark.parametrize("hours", [-1, 1])
def test_receive_request_on_a_host_with_a_wrong_clock_has_the_databases_time(account, monkeypatch, hours):
    wrong = timezone.now() + timedelta(hours=hours)
    monkeypatch.setattr("django.utils.timezone.now", lambda: wrong)
    request = receive_event(source=EventSource.API, channel="blend", message_id="a", payload=GOOD)
    monkeypatch.undo()
    assert abs(timezone.now() - request.published_at) < timedelta(minutes=1)
    assert request.state == "accepted"
    assert receive(GOOD, message_id="b", published_at=timezone.now()).runs.get().state == "queued"


def test_receive_superseded_event_is_reported_on_event_run_and_notification(account):
    now = timezone.now()
    newest = receive(GOOD, message_id="b", published_at=now)
    event = receive(GOOD, message_id="a", published_at=now - timedelta(minutes=1))
    run = event.runs.get()
    assert (event.state, event.reason_code, run.error_code) == ("accepted", "superseded", "superseded")
    for text in (event.reason, run.error_message):
        assert newest.runs.get().run_id in text and f"({newest.pk})" in text
    assert Notification.objects.get().title == "Event accepted: blend (superseded)"
    later = receive(GOOD, message_id="c", published_at=now + timedelta(seconds=1))
    replaced = newest.runs.get()
    assert (replaced.state, replaced.error_code) == ("superseded", "superseded")
    assert str(later.pk) in replaced.error_message
