"""A listener in normal operation, and messages that are invalid."""

import json
from datetime import timedelta

import pytest
from django.db import DataError, IntegrityError, InternalError, ProgrammingError, connection
from django.utils import timezone

from accounts.models import Strategy
from tests.support.listening import Listening, eventually, heartbeat
from tests.support.makers import policy, simulated_account, strategy
from tests.trading.listener.conftest import REBALANCE
from trading.common.formats import instant_text
from trading.models import ChannelPosition, Notification, RebalanceRun, StrategyEvent
from trading.monitoring.doctor.registry import examine

TEXT = "eyJleGVjIjoicmViYWxhbmNlIn0="  # {"exec":"rebalance"}


def test_message_creates_an_event_and_a_run(ably, listening, inbox):
    message_id = ably.publish("blend", REBALANCE)
    (event,) = inbox(message_id)
    assert (event.state, event.exec, event.runs.get().state) == ("accepted", "rebalance", "queued")
    assert event.serial and event.published_at < timezone.now()


def test_message_has_the_same_payload_live_and_from_history(ably, listening, inbox):
    items = [
        {"data": REBALANCE},
        {"data": json.dumps(REBALANCE), "encoding": "json"},
        {"data": TEXT, "encoding": "base64"},
    ]
    live = ably.publish_batch("blend", items)
    inbox(*live)
    again = ably.publish_batch("blend", items, live=False)
    events = inbox(*live, *again)
    assert {(event.state, event.duplicates) for event in events} == {("accepted", 0)}
    assert [event.payload for event in events[:3]] == [event.payload for event in events[3:]]


def test_invalid_messages_are_rejected_with_a_notification_and_the_next_is_accepted(ably, listening, inbox):
    bad = {
        "payload_undecodable": {"data": "{", "encoding": "json"},
        "payload_not_json": {"data": "\x00\ud800 no json"},
        "payload_invalid": {"data": "{}"},
        "unknown_account": {"data": '{"exec":"rebalance","account_id":"U9"}'},
        "unknown_exec": {"data": '{"exec":"sell everything"}'},
    }
    ids = [ably.publish_batch("blend", [item])[0] for item in bad.values()]
    good = ably.publish("blend", REBALANCE)
    events = {event.message_id: event for event in inbox(*ids, good)}
    assert [(events[one].state, events[one].reason_code) for one in ids] == [("rejected", code) for code in bad]
    assert events[good].state == "accepted"
    titles = sorted(Notification.objects.values_list("title", flat=True))
    assert titles == sorted(f"Event rejected: blend ({code})" for code in bad)
    assert RebalanceRun.objects.count() == 1


def test_gap_beyond_retention_is_reported(ably, blend, inbox):
    with Listening(ably) as listener:
        listener.until_attached("blend")
    hour = timezone.now() - timedelta(hours=1)
    ChannelPosition.objects.update(known_from=hour, caught_up_to=hour)  # as if stopped for an hour
    ably.set_retention(600)
    ably.publish("blend", REBALANCE, age_seconds=1800)
    found = ably.publish("blend", REBALANCE, age_seconds=300)
    with Listening(ably) as listener:
        listener.until_attached("blend").until("listening")
        inbox(found)
        channel = eventually(lambda: next((one for one in heartbeat()["channels"] if one["gap"]), None), "The gap")
        assert channel["name"] == "blend" and channel["gap"].startswith(f"{instant_text(hour)} to ")
        assert [finding.message for finding in examine(["listener"]) if "blend may be lost" in finding.message]
    assert Notification.objects.filter(title__startswith="Messages of blend").count() == 1
    offset = ChannelPosition.objects.get(channel="blend")
    assert timezone.now() - offset.caught_up_to < timedelta(minutes=1)


def test_new_channel_starts_at_its_current_end(ably, blend, inbox):
    ably.publish("blend", REBALANCE)
    with Listening(ably) as listener:
        listener.until_attached("blend")
        message_id = ably.publish("blend", REBALANCE)
        inbox(message_id)
    assert ChannelPosition.objects.get(channel="blend").known_from


def test_restarted_listener_continues_at_its_offset(ably, blend, inbox):
    with Listening(ably) as listener:
        listener.until_attached("blend")
    ids = [ably.publish("blend", REBALANCE) for _ in range(3)]
    with Listening(ably):
        inbox(*ids)


def test_history_with_several_pages_is_read_completely(ably, blend, inbox):
    with Listening(ably) as listener:
        listener.until_attached("blend")
    ably.set(max_page_size=2)
    ids = [ably.publish("blend", '{"exec":"print-rebalance"}') for _ in range(7)]
    with Listening(ably):
        inbox(*ids)


def test_only_repeated_live_messages_count_as_duplicates(ably, listening, inbox):
    message_id = ably.publish("blend", REBALANCE)
    (twice,) = ably.publish_batch("blend", [{"data": REBALANCE}], times=3)
    inbox(message_id, twice)
    seen = ably.seen("history")
    ably.wait_for("history", seen + 4)
    once, thrice = inbox(message_id, twice)
    assert (once.duplicates, thrice.duplicates) == (0, 2)


def test_message_id_with_different_content_is_rejected_once(ably, listening, inbox):
    ably.publish_batch("blend", [{"data": REBALANCE, "id": "same"}])
    inbox("same")
    ably.publish_batch("blend", [{"data": '{"exec":"print-rebalance"}', "id": "same"}])
    stored = StrategyEvent.objects.filter(channel="blend")
    eventually(lambda: stored.count() == 2, "The rejected event")
    seen = ably.seen("history")
    ably.wait_for("history", seen + 4)
    assert sorted(stored.values_list("state", "reason_code", "duplicates")) == [
        ("accepted", "", 1),
        ("rejected", "conflicting_duplicate", 0),
    ]


def test_added_renamed_and_disabled_strategies_change_the_channels(ably, listening, inbox):
    simulated_account("U3", {}, strategy=strategy("added", {"SPY": "1"}), policy=policy())
    listening.until_attached("blend", "added")
    inbox(ably.publish("added", REBALANCE), channel="added")
    Strategy.objects.filter(name="added").update(name="renamed")
    listening.until_attached("blend", "renamed")
    eventually(lambda: not ChannelPosition.objects.filter(channel="added").exists(), "Deletion of the old offset")
    inbox(ably.publish("renamed", REBALANCE), channel="renamed")
    Strategy.objects.filter(name="blend").update(enabled=False)
    eventually(lambda: "blend" not in listening.listener.status.channels, "Release of the disabled strategy")
    ably.publish("blend", REBALANCE)
    inbox(
        ably.publish("renamed", REBALANCE), *[event.message_id for event in inbox(channel="renamed")], channel="renamed"
    )
    Strategy.objects.filter(name="blend").update(enabled=True)
    listening.until_attached("blend")
    inbox(ably.publish("blend", REBALANCE))  # and not the one published in between


def test_heartbeat_reports_connection_and_channels(ably, listening, inbox):
    inbox(ably.publish("blend", REBALANCE))

    def complete():
        report = heartbeat()
        channel = next((one for one in report["channels"] if one["name"] == "blend"), None)
        if channel is None:
            return False
        ready = report["last_ping_at"] and channel["last_message_at"] and report["state"] == "listening"
        return ready and (report, channel)

    report, channel = eventually(complete, "A complete heartbeat")
    assert (channel["state"], channel["problem"], channel["problem_since"]) == ("attached", "", None)
    assert channel["last_catch_up_at"] and report["lag_seconds"] < 30 and report["ping_ms"] > 0 and report["pid"]


def test_stopped_listener_stores_what_it_received_and_reports_stopped(ably, blend, inbox):
    with Listening(ably) as listener:
        listener.until_attached("blend")
        ids = [ably.publish("blend", REBALANCE) for _ in range(30)]
        listener.stop()
    stored = {event.message_id for event in inbox()}
    assert stored <= set(ids)
    assert heartbeat()["state"] == "stopped" and heartbeat()["waiting"] == 0
    with Listening(ably):
        inbox(*ids)


def test_two_listeners_store_each_event_once(ably, listening, inbox):
    with Listening(ably) as other:
        other.until_attached("blend")
        ids = [ably.publish("blend", REBALANCE) for _ in range(20)]
        inbox(*ids)
    assert all(event.state == "accepted" for event in inbox())
    assert RebalanceRun.objects.count() == 20


def test_unavailable_database_loses_no_event(ably, listening, inbox, monkeypatch):
    from django.db import OperationalError

    from trading.listener import intake

    failures, receive = [True] * 5, intake.receive_event

    def receive_event(**fields):
        if failures:
            failures.pop()
            raise OperationalError("the database is unavailable")
        return receive(**fields)

    monkeypatch.setattr(intake, "receive_event", receive_event)
    ids = [ably.publish("blend", REBALANCE) for _ in range(3)]
    inbox(*ids)
    assert connection.vendor and not failures


def test_message_with_unexpected_error_is_broken_and_the_next_is_accepted(ably, listening, inbox, monkeypatch):
    from trading.listener import intake

    receive = intake.receive_event

    def receive_event(**fields):
        if "poison" in str(fields["payload"]):
            raise RuntimeError("unexpected")
        return receive(**fields)

    monkeypatch.setattr(intake, "receive_event", receive_event)
    ids = [ably.publish("blend", '{"exec":"rebalance","data":"poison"}'), ably.publish("blend", REBALANCE)]
    assert [event.state for event in inbox(*ids)] == ["broken", "accepted"]


@pytest.mark.parametrize("error", [ProgrammingError, IntegrityError, DataError, InternalError])
def test_message_that_the_database_rejects_waits_in_memory_and_is_stored_later(
    ably, listening, inbox, monkeypatch, error
):
    """During an upgrade the tables can differ from the models of a listener that still runs."""
    from trading.inbox import broken_events, receive

    migrating = [True]
    new_event = receive.new_event

    def with_other_tables(*args):
        if migrating:
            raise error("column does not exist")
        return new_event(*args)

    for module in (receive, broken_events):
        monkeypatch.setattr(module, "new_event", with_other_tables)
    ids = [ably.publish("blend", REBALANCE) for _ in range(3)]
    eventually(lambda: Notification.objects.filter(title="Events cannot be stored").exists(), "The alarm")
    assert inbox() == []
    migrating.clear()
    assert [event.state for event in inbox(*ids)] == ["accepted"] * 3


def test_listener_runs_the_sweeper(ably, listening):
    from django_q.models import OrmQ

    from tests.support.makers import queue

    queue(simulated_account("U5", {"SPY": "1"}, policy=policy()))
    OrmQ.objects.all().delete()  # the queue lost the task
    eventually(OrmQ.objects.exists, "A new task")
