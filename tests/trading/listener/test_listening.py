"""What a listener does when all is well, and what it makes of messages that are not."""

import json
from datetime import timedelta

from django.db import connection
from django.utils import timezone

from accounts.models import Strategy
from tests.support.listening import Listening, eventually, heartbeat
from tests.support.makers import policy, simulated_account, strategy
from tests.trading.listener.conftest import REBALANCE
from trading.models import ChannelPosition, Notification, RebalanceRun, StrategyEvent
from trading.monitoring.doctor.registry import examine

TEXT = "eyJleGVjIjoicmViYWxhbmNlIn0="  # {"exec":"rebalance"}


def test_a_message_becomes_an_event_and_a_run(ably, listening, inbox):
    message_id = ably.publish("blend", REBALANCE)
    (event,) = inbox(message_id)
    assert (event.state, event.exec, event.runs.get().state) == ("accepted", "rebalance", "queued")
    assert event.serial and event.published_at < timezone.now()


def test_a_message_reads_the_same_live_and_in_history(ably, listening, inbox):
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


def test_bad_messages_are_stored_as_rejected_and_people_are_told_and_the_next_is_served(ably, listening, inbox):
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


def test_what_history_does_not_have_any_more_is_reported(ably, blend, inbox):
    with Listening(ably) as listener:
        listener.until_attached("blend")
    hour = timezone.now() - timedelta(hours=1)
    ChannelPosition.objects.update(known_from=hour, caught_up_to=hour)  # as if it had been away for an hour
    ably.keep(600)
    ably.publish("blend", REBALANCE, age_seconds=1800)
    found = ably.publish("blend", REBALANCE, age_seconds=300)
    with Listening(ably) as listener:
        listener.until_attached("blend").until("listening", "")
        inbox(found)
        told = eventually(lambda: next((one for one in heartbeat()["channels"] if one["maybe_lost"]), None), "Its word")
        assert told["name"] == "blend" and told["maybe_lost"].startswith(f"{hour:%Y-%m-%d %H:%M:%S} to ")
        assert [finding.message for finding in examine(["listener"]) if "blend may be lost" in finding.message]
    message = Notification.objects.get(title__startswith="Messages of blend")
    assert "published again" in message.body
    position = ChannelPosition.objects.get(channel="blend")
    assert timezone.now() - position.caught_up_to < timedelta(minutes=1)


def test_on_its_first_day_a_channel_begins_at_its_head(ably, blend, inbox):
    ably.publish("blend", REBALANCE)
    with Listening(ably) as listener:
        listener.until_attached("blend")
        message_id = ably.publish("blend", REBALANCE)
        inbox(message_id)
    assert ChannelPosition.objects.get(channel="blend").known_from


def test_the_second_time_it_goes_on_where_it_was(ably, blend, inbox):
    with Listening(ably) as listener:
        listener.until_attached("blend")
    ids = [ably.publish("blend", REBALANCE) for _ in range(3)]
    with Listening(ably):
        inbox(*ids)


def test_every_page_of_history_is_read(ably, blend, inbox):
    with Listening(ably) as listener:
        listener.until_attached("blend")
    ably.set(longest_page=2)
    ids = [ably.publish("blend", '{"exec":"print-rebalance"}') for _ in range(7)]
    with Listening(ably):
        inbox(*ids)


def test_what_history_shows_again_and_again_is_no_duplicate_but_what_comes_twice_is(ably, listening, inbox):
    message_id = ably.publish("blend", REBALANCE)
    (twice,) = ably.publish_batch("blend", [{"data": REBALANCE}], times=3)
    inbox(message_id, twice)
    seen = ably.seen("history")
    ably.wait_for("history", seen + 4)
    once, thrice = inbox(message_id, twice)
    assert (once.duplicates, thrice.duplicates) == (0, 2)


def test_an_id_that_comes_again_with_another_content_is_quarantined_once(ably, listening, inbox):
    ably.publish_batch("blend", [{"data": REBALANCE, "id": "same"}])
    inbox("same")
    ably.publish_batch("blend", [{"data": '{"exec":"print-rebalance"}', "id": "same"}])
    stored = StrategyEvent.objects.filter(channel="blend")
    eventually(lambda: stored.count() == 2, "The quarantine")
    seen = ably.seen("history")
    ably.wait_for("history", seen + 4)
    assert sorted(stored.values_list("state", "reason_code", "duplicates")) == [
        ("accepted", "", 1),
        ("rejected", "conflicting_duplicate", 0),
    ]


def test_strategies_that_are_added_renamed_and_disabled_are_followed(ably, listening, inbox):
    simulated_account("U3", {}, strategy=strategy("added", {"SPY": "1"}), policy=policy())
    listening.until_attached("blend", "added")
    inbox(ably.publish("added", REBALANCE), channel="added")
    Strategy.objects.filter(name="added").update(name="renamed")
    listening.until_attached("blend", "renamed")
    eventually(lambda: not ChannelPosition.objects.filter(channel="added").exists(), "The end of the old name")
    inbox(ably.publish("renamed", REBALANCE), channel="renamed")
    Strategy.objects.filter(name="blend").update(enabled=False)
    eventually(lambda: "blend" not in listening.listener.status.channels, "The end of a disabled strategy")
    ably.publish("blend", REBALANCE)
    inbox(
        ably.publish("renamed", REBALANCE), *[event.message_id for event in inbox(channel="renamed")], channel="renamed"
    )
    Strategy.objects.filter(name="blend").update(enabled=True)
    listening.until_attached("blend")
    inbox(ably.publish("blend", REBALANCE))  # and not the one from between


def test_the_heartbeat_tells_how_it_stands(ably, listening, inbox):
    inbox(ably.publish("blend", REBALANCE))

    def complete():
        told = heartbeat()
        channel = next((one for one in told["channels"] if one["name"] == "blend"), None)
        if channel is None:
            return False
        return told["last_ping_at"] and channel["last_message_at"] and told["state"] == "listening" and (told, channel)

    told, channel = eventually(complete, "A complete heartbeat")
    assert (channel["state"], channel["problem"], channel["trouble_since"]) == ("attached", "", None)
    assert channel["last_catch_up_at"] and told["lag_seconds"] < 30 and told["ping_ms"] > 0 and told["pid"]


def test_when_it_is_told_to_stop_it_stores_what_it_has_and_says_so(ably, blend, inbox):
    with Listening(ably) as listener:
        listener.until_attached("blend")
        ids = [ably.publish("blend", REBALANCE) for _ in range(30)]
        listener.stop()
    stored = {event.message_id for event in inbox()}
    assert stored <= set(ids)
    assert heartbeat()["state"] == "stopped" and heartbeat()["waiting"] == 0
    with Listening(ably):
        inbox(*ids)


def test_two_listeners_at_once_are_harmless(ably, listening, inbox):
    with Listening(ably) as other:
        other.until_attached("blend")
        ids = [ably.publish("blend", REBALANCE) for _ in range(20)]
        inbox(*ids)
    assert all(event.state == "accepted" for event in inbox())
    assert RebalanceRun.objects.count() == 20


def test_while_the_database_is_away_nothing_is_lost(ably, listening, inbox, monkeypatch):
    from django.db import OperationalError

    from trading.listener import intake

    away, receive = [True] * 5, intake.receive_event

    def receive_event(**fields):
        if away:
            away.pop()
            raise OperationalError("the database is away")
        return receive(**fields)

    monkeypatch.setattr(intake, "receive_event", receive_event)
    ids = [ably.publish("blend", REBALANCE) for _ in range(3)]
    inbox(*ids)
    assert connection.vendor and not away


def test_what_breaks_the_inbox_is_kept_unread_and_the_next_is_served(ably, listening, inbox, monkeypatch):
    from trading.listener import intake
    from trading.models.run_documents import Unreadable

    receive = intake.receive_event

    def receive_event(**fields):
        if "poison" in str(fields["payload"]) and not isinstance(fields["payload"], Unreadable):
            raise RuntimeError("nobody foresaw this")
        return receive(**fields)

    monkeypatch.setattr(intake, "receive_event", receive_event)
    ids = [ably.publish("blend", '{"exec":"rebalance","data":"poison"}'), ably.publish("blend", REBALANCE)]
    assert [event.state for event in inbox(*ids)] == ["rejected", "accepted"]


def test_the_sweeper_runs_beside_it(ably, listening):
    from django_q.models import OrmQ

    from tests.support.makers import queue

    queue(simulated_account("U5", {"SPY": "1"}, policy=policy()))
    OrmQ.objects.all().delete()  # the hint is lost
    eventually(OrmQ.objects.exists, "A new hint")
