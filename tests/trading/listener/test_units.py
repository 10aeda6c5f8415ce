"""Units without a service: message conversion, offsets, missed messages, watchdog, closing a client."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from ably.types.message import Message

from tests.trading.listener.conftest import REBALANCE
from trading.listener import clients
from trading.listener.catch_up import CaughtUp, missed_messages
from trading.listener.config import Timing
from trading.listener.messages import from_history, from_live
from trading.listener.offsets import reach_and_gap
from trading.listener.watchdog import MAX_RECONNECTS, Observation, Watchdog
from trading.models import ChannelPosition

NOW = datetime(2026, 11, 25, 15, tzinfo=UTC)
HEAD = {"id": "c:1:0", "timestamp": 1_795_618_800_000, "serial": "0001@a:0"}


def ago(**fields):
    return NOW - timedelta(**fields)


@pytest.mark.parametrize(
    ("item", "payload"),
    [
        ({"data": REBALANCE}, REBALANCE),
        ({"data": REBALANCE, "encoding": "json"}, {"exec": "rebalance"}),
        ({"data": {"exec": "rebalance"}}, {"exec": "rebalance"}),
        ({"data": f'"{REBALANCE[1:-1]}"'.replace('"', "'")}, f'"{REBALANCE[1:-1]}"'.replace('"', "'")),
        ({"data": "eyJleGVjIjoicmViYWxhbmNlIn0=", "encoding": "base64"}, REBALANCE),
        ({"data": "eyJleGVjIjoicmViYWxhbmNlIn0=", "encoding": "json/utf-8/base64"}, {"exec": "rebalance"}),
        ({"data": REBALANCE, "name": "any", "clientId": "x", "extras": {"headers": {"a": 1}}, "more": []}, REBALANCE),
        ({"data": None}, None),
        ({}, None),
        ({"data": [1]}, [1]),
    ],
)
def test_message_live_and_from_history_converts_to_the_same_value(item, payload):
    received = from_history("blend", HEAD | item)
    assert received.payload == payload and received.is_readable
    assert (received.message_id, received.serial, received.published_at.year) == ("c:1:0", "0001@a:0", 2026)
    assert from_live("blend", Message.from_encoded(HEAD | item)) == received


@pytest.mark.parametrize(
    "item",
    [
        {"data": "x", "encoding": "cipher+aes-256-cbc"},
        {"data": "x", "encoding": "unknown"},
        {"data": "/v8=", "encoding": "base64"},
        {"data": "{", "encoding": "json"},
        {"data": None, "encoding": "json"},
        {"data": REBALANCE, "encoding": 7},
        {"data": "not base64 at all!", "encoding": "base64"},
        {"data": "x", "encoding": "vcdiff"},
        {"data": REBALANCE, "timestamp": "noon"},
        {"data": REBALANCE, "timestamp": -5},
        {"data": REBALANCE, "timestamp": 10**18},
        {"data": REBALANCE, "timestamp": None},
        {"data": REBALANCE, "serial": 5},
        {"data": REBALANCE, "id": None},
        {"data": REBALANCE, "id": ""},
        {"data": REBALANCE, "id": ["list"]},
        {"data": REBALANCE, "extras": "text", "version": 3},
    ],
)
def test_undecodable_item_becomes_unreadable_with_a_stable_id(item):
    received = from_history("blend", HEAD | item)
    assert not received.is_readable and received.payload.why and received.message_id
    assert from_history("blend", HEAD | item).message_id == received.message_id
    assert from_history("blend", HEAD | item).payload == received.payload


@pytest.mark.parametrize("item", [None, 3, "text", [], True])
def test_item_that_is_no_object_becomes_unreadable_with_a_derived_id(item):
    received = from_history("blend", item)
    assert not received.is_readable and received.message_id.startswith("no-id-")


@pytest.mark.parametrize(
    ("caught_up_to", "known_reach", "oldest", "newest_stored", "reach", "gap"),
    [
        # stopped for less than the minimum retention
        (ago(seconds=90), 120, None, None, timedelta(minutes=2), None),
        # the oldest stored message is older than the offset
        (ago(hours=5), 120, ago(hours=6), None, timedelta(hours=6), None),
        # ... or newer: messages may be lost
        (ago(hours=5), 120, ago(hours=4), None, timedelta(hours=4), (ago(hours=5), ago(hours=4))),
        # history is empty
        (ago(hours=5), 120, None, None, timedelta(minutes=2), (ago(hours=5), ago(minutes=2))),
        # history is known to reach far enough
        (ago(hours=5), 86_400, None, None, timedelta(days=1), None),
        (ago(hours=5), 86_400, ago(hours=1), ago(days=2), timedelta(days=1), None),
        # a message that should be there is gone: the retention was reduced
        (ago(hours=5), 86_400, None, ago(hours=6), timedelta(minutes=2), (ago(hours=5), ago(minutes=2))),
        (ago(hours=5), 86_400, ago(hours=1), ago(hours=6), timedelta(hours=1), (ago(hours=5), ago(hours=1))),
    ],
)
def test_reach_and_gap_by_offset_and_history(caught_up_to, known_reach, oldest, newest_stored, reach, gap):
    offset = ChannelPosition(
        channel="blend", known_from=ago(days=9), caught_up_to=caught_up_to, history_reach_seconds=known_reach
    )
    found, lost = reach_and_gap(offset, oldest, newest_stored, NOW)
    assert (found, lost and (lost.since, lost.until)) == (reach, gap)


HEALTHY = Observation("connected")


@pytest.mark.parametrize(
    ("observed", "after", "rebuild"),
    [
        (HEALTHY, 10_000, False),
        (Observation("connecting"), 59, False),
        (Observation("connecting"), 60, True),
        (Observation("disconnected"), 60, True),
        (Observation("suspended"), 299, False),
        (Observation("suspended"), 300, True),
        (Observation("failed"), 0, True),
        (Observation("closed"), 0, True),
        (Observation("connected", ping_problem="no answer"), 59, False),
        (Observation("connected", ping_problem="no answer"), 60, True),
        (Observation("connected", unattached=("blend",)), 60, True),
        (Observation("connected", behind=("blend",)), 60, True),
        (Observation("connected", reconnects=MAX_RECONNECTS), 10_000, False),
        (Observation("connected", reconnects=MAX_RECONNECTS + 1), 0, True),
        (Observation("connected", stale_reason="blend missed a message"), 0, True),
    ],
)
def test_watchdog_after_a_time_in_one_state_requests_a_rebuild(observed, after, rebuild):
    watchdog = Watchdog(Timing())
    watchdog.evaluate(observed, 0.0)
    verdict = watchdog.evaluate(observed, float(after))
    assert verdict.rebuild is rebuild
    assert verdict.is_healthy is (observed in {HEALTHY, Observation("connected", reconnects=MAX_RECONNECTS)})


def test_watchdog_after_a_healthy_observation_restarts_the_time():
    watchdog = Watchdog(Timing())
    bad = Observation("connected", ping_problem="no answer")
    sequence = ((bad, 0.0), (HEALTHY, 50.0), (bad, 55.0), (bad, 110.0), (bad, 115.0))
    verdicts = [watchdog.evaluate(observed, now).rebuild for observed, now in sequence]
    assert verdicts == [False, False, False, False, True]


@pytest.mark.parametrize(
    ("fields", "received", "is_missed"),
    [
        ({}, (), True),
        ({}, ("f:1:0",), False),  # in the queue
        ({"age": 3600}, (), False),  # published before the attach
        ({"age": 1}, (), False),  # may still be received
        ({"name": "error"}, (), False),  # not delivered by the SDK
    ],
)
def test_missed_messages_by_age_and_receipt(fields, received, is_missed):
    def item(message_id, **more):
        age = timedelta(seconds=fields.get("age", 60))
        milliseconds = int((NOW - age).timestamp() * 1000)
        return from_history("blend", {"id": message_id, "timestamp": milliseconds, "data": REBALANCE, **more})

    found = CaughtUp(NOW, (item("f:1:0", name=fields.get("name")),))
    assert bool(missed_messages(found, received, ago(minutes=10), timedelta(seconds=10))) is is_missed
    undecodable = CaughtUp(NOW, (item("f:1:0"), item("f:1:1", encoding="unknown")))
    assert not missed_messages(undecodable, (), ago(minutes=10), timedelta(seconds=10))


def test_close_of_a_client_that_swallows_its_cancellation_ends_in_time():
    class Stubborn:
        swallowed = 0

        async def close(self):
            while not self.swallowed:
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    self.swallowed += 1
            await asyncio.Event().wait()

    async def closed():
        async with asyncio.timeout(5):
            await clients.close(client, 0.01)
            await asyncio.sleep(0)
        return True

    client = Stubborn()
    assert asyncio.run(closed()) and client.swallowed == 1
