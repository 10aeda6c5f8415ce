"""Stale connections: each fault is detected and recovered from, and no message published in the meantime is lost."""

import pytest

from tests.support.ably_server import Fault
from tests.support.listening import QUICK, Listening, eventually
from tests.trading.listener.conftest import REBALANCE
from trading.listener.config import Timing
from trading.models import Notification

pytestmark = pytest.mark.one_database

FAULTS = [
    Fault.DROP,
    Fault.NORMAL_CLOSE,
    Fault.DISCONNECTED,
    Fault.DISCONNECTED_WITHOUT_ERROR,
    Fault.DISCONNECTED_WITHOUT_STATUS,
    Fault.DISCONNECTED_50X,
    Fault.CONNECTION_ERROR,
    Fault.FORGOTTEN_ATTACHMENT,
    Fault.CONTINUITY_LOST,
    Fault.MALFORMED,
]


def assert_receives_live(ably, inbox, *ids):
    """Publish until a message is received that no history has, which proves that the channel receives live messages."""
    ids, live_only = list(ids), set()

    def received_live():
        # One that history has, so that a stale connection is detected.
        ids.append(ably.publish("blend", '{"exec":"print-rebalance"}'))
        (message_id,) = ably.publish_batch("blend", [{"data": REBALANCE}])
        live_only.add(message_id)
        ably.call(ably.store.channel("blend").frames.pop)  # removed from history
        try:
            return eventually(lambda: live_only & {event.message_id for event in inbox()}, "Live", seconds=0.5)
        except AssertionError:
            return False

    eventually(received_live, "Receiving a live message")
    eventually(lambda: set(ids) <= {event.message_id for event in inbox()}, "What history has")
    stored = [event.message_id for event in inbox()]
    assert len(stored) == len(set(stored))


@pytest.mark.parametrize("fault", FAULTS)
def test_connection_after_a_fault_recovers_without_loss(ably, listening, inbox, fault):
    before = ably.publish("blend", REBALANCE)
    inbox(before)
    ably.inject(fault)
    during = ably.publish("blend", REBALANCE)
    inbox(before, during)
    assert_receives_live(ably, inbox, before, during)


def test_connection_to_a_stalled_service_is_replaced(ably, listening, inbox):
    ably.inject(Fault.STALL)
    during = ably.publish("blend", REBALANCE)
    eventually(lambda: listening.listener.status.rebuilds >= 1, "A new client")
    ably.set(stalled=False)
    inbox(during)
    assert_receives_live(ably, inbox, during)


def test_connection_to_an_unavailable_service_is_retried_until_it_responds(ably, listening, inbox):
    ably.set(refusing=True)
    ably.inject(Fault.DROP)
    during = ably.publish("blend", REBALANCE)
    eventually(lambda: listening.listener.status.rebuilds >= 2, "Several new clients")
    assert listening.listener.status.connection.problem_since is not None
    ably.set(refusing=False)
    inbox(during)
    listening.until_attached("blend").until("listening")


def test_channel_whose_attach_is_ignored_is_attached_by_a_new_client(ably, blend, inbox):
    ably.set(attach_ignored={"blend"})
    with Listening(ably) as listener:
        eventually(lambda: listener.listener.status.rebuilds >= 1, "A new client")
        during = ably.publish("blend", REBALANCE)
        inbox(during)
        ably.set(attach_ignored=set())
        listener.until_attached("blend")
        assert_receives_live(ably, inbox, during)


def test_channel_with_publish_only_key_alerts_and_recovers_with_the_right_capability(ably, blend, inbox):
    ably.allow({"*": ("publish", "history")})
    with Listening(ably) as listener:
        listener.until("attached, but the key may not subscribe", "blend")
        eventually(lambda: Notification.objects.filter(title="Ably refuses the channel blend").exists(), "The alert")
        during = ably.publish("blend", REBALANCE)
        inbox(during)
        ably.allow({"*": ("subscribe", "history")})
        listener.until_attached("blend")
        assert_receives_live(ably, inbox, during)


def test_connection_with_revoked_key_recovers_when_the_key_is_valid_again(ably, listening, inbox):
    ably.allow(None)
    ably.inject(Fault.CONTINUITY_LOST)
    listening.until("key refused")
    ably.allow({"*": ("subscribe", "history")})
    during = ably.publish("blend", REBALANCE)
    inbox(during)
    assert_receives_live(ably, inbox, during)


def test_channel_with_refused_history_alerts_and_still_receives_live_messages(ably, blend, inbox):
    ably.allow({"*": ("subscribe",)})
    with Listening(ably) as listener:
        listener.until("attached", "blend")
        eventually(lambda: Notification.objects.filter(title="Ably refuses the history of blend").exists(), "The alert")
        inbox(ably.publish("blend", REBALANCE))
        assert "40160" in listener.listener.status.channel("blend").report("blend").problem
        assert listener.listener.status.rebuilds == 0


def test_history_that_fails_is_read_again_until_it_responds(ably, listening, inbox):
    ably.set(rest_status=500)
    (missed,) = ably.publish_batch("blend", [{"data": REBALANCE}], live=False)
    eventually(lambda: listening.listener.status.channel("blend").history.problem, "A history problem")
    inbox(ably.publish("blend", REBALANCE))
    ably.set(rest_status=0)
    eventually(lambda: missed in {event.message_id for event in inbox()}, "The missed message")


def test_history_with_an_expired_token_renews_it(ably, listening, inbox):
    ably.call(ably.store.tokens.clear)
    (missed,) = ably.publish_batch("blend", [{"data": REBALANCE}], live=False)
    inbox(missed)


def test_batch_with_an_undecodable_message_rejects_only_that_message(ably, listening, inbox):
    good, bad, other = ably.publish_batch(
        "blend", [{"data": REBALANCE}, {"data": "{", "encoding": "json"}, {"data": '{"exec":"print-rebalance"}'}]
    )
    stored = {event.message_id: event.state for event in inbox(good, bad, other)}
    assert (stored[good], stored[bad], stored[other]) == ("accepted", "rejected", "accepted")
    assert listening.listener.status.rebuilds == 0


def test_batch_right_after_a_slow_answer_about_the_time_is_read_from_history(ably, blend, inbox):
    """The time at which a channel is first known is never ahead of the service's clock."""
    ably.set(clock_delay=0.4)
    with Listening(ably) as listener:
        listener.until_attached("blend")
        inbox(*ably.publish_batch("blend", [{"data": REBALANCE}, {"data": "{", "encoding": "json"}]))


def test_message_named_error_is_read_from_history(ably, listening, inbox):
    (history_only,) = ably.publish_batch("blend", [{"data": REBALANCE, "name": "error"}])
    assert [event.state for event in inbox(history_only)] == ["accepted"]
    assert listening.listener.status.rebuilds == 0


def test_oversized_frame_does_not_cause_repeated_reconnects(ably, listening, inbox):
    before = ably.publish("blend", REBALANCE)
    inbox(before)
    huge = ably.publish("blend", '{"exec":"rebalance","data":"' + "x" * 1_200_000 + '"}')
    inbox(before, huge)
    assert_receives_live(ably, inbox, before, huge)
    connects = ably.seen("connected")
    assert_receives_live(ably, inbox, *(event.message_id for event in inbox()))
    assert ably.seen("connected") == connects


def test_default_timing_recovers_within_90_seconds():
    """What the tests above prove with short waits holds for the default ones."""
    timing = Timing()
    assert timing.watch + timing.ping + timing.unhealthy + timing.back_off_first < 90
    assert timing.reconcile + timing.grace + timing.back_off_first < 90
    assert timing.strategies + timing.request < 30
    assert timing.close + timing.drain < 4
    assert set(QUICK.model_dump()) == set(timing.model_dump())
