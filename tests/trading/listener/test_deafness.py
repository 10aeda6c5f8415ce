"""The table of silent deafness: each row is found out and cured, and nothing that was published meanwhile is lost."""

import pytest

from tests.support.ably_server import Fault
from tests.support.listening import QUICK, Listening, eventually
from tests.trading.listener.conftest import ON_ONE_DATABASE, REBALANCE
from trading.listener.config import Timing
from trading.models import Notification

pytestmark = ON_ONE_DATABASE

ROWS = [
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


def live_again(ably, inbox, *ids):
    """Publishes until a message comes that no history has: the channel is heard live."""
    ids, unheard = list(ids), set()

    def heard():
        ids.append(
            ably.publish("blend", '{"exec":"print-rebalance"}')
        )  # one that history has, for the listener to miss
        (message_id,) = ably.publish_batch("blend", [{"data": REBALANCE}])
        unheard.add(message_id)
        ably.call(ably.store.channel("blend").frames.pop)  # history never has it
        try:
            return eventually(lambda: unheard & {event.message_id for event in inbox()}, "Live", seconds=0.5)
        except AssertionError:
            return False

    eventually(heard, "Hearing a message live")
    eventually(lambda: set(ids) <= {event.message_id for event in inbox()}, "What history has")
    stored = [event.message_id for event in inbox()]
    assert len(stored) == len(set(stored))


@pytest.mark.parametrize("fault", ROWS)
def test_a_connection_that_lies_is_found_out_and_cured(ably, listening, inbox, fault):
    before = ably.publish("blend", REBALANCE)
    inbox(before)
    ably.strike(fault)
    during = ably.publish("blend", REBALANCE)
    inbox(before, during)
    live_again(ably, inbox, before, during)


def test_a_stalled_service_is_left_and_found_again(ably, listening, inbox):
    ably.strike(Fault.STALL)
    during = ably.publish("blend", REBALANCE)
    eventually(lambda: listening.listener.status.rebuilds >= 1, "A new client")
    ably.set(stalled=False)
    inbox(during)
    live_again(ably, inbox, during)


def test_a_service_that_is_away_is_tried_until_it_is_back(ably, listening, inbox):
    ably.set(refusing=True)
    ably.strike(Fault.DROP)
    during = ably.publish("blend", REBALANCE)
    eventually(lambda: listening.listener.status.rebuilds >= 2, "Several new clients")
    assert listening.listener.status.connection.since is not None
    ably.set(refusing=False)
    inbox(during)
    listening.until_attached("blend").until("listening", "")


def test_an_attach_that_is_never_answered_is_asked_again(ably, blend, inbox):
    ably.set(attach_ignored={"blend"})
    with Listening(ably) as listener:
        eventually(lambda: listener.listener.status.rebuilds >= 1, "A new client")
        during = ably.publish("blend", REBALANCE)
        inbox(during)
        ably.set(attach_ignored=set())
        listener.until_attached("blend")
        live_again(ably, inbox, during)


def test_a_key_that_may_only_publish_is_loud_and_cured_by_the_right_key(ably, blend, inbox):
    ably.allow({"*": ("publish", "history")})
    with Listening(ably) as listener:
        listener.until("attached, but the key may not subscribe", "blend")
        eventually(lambda: Notification.objects.filter(title="Ably refuses the channel blend").exists(), "The alarm")
        during = ably.publish("blend", REBALANCE)
        inbox(during)
        ably.allow({"*": ("subscribe", "history")})
        listener.until_attached("blend")
        live_again(ably, inbox, during)


def test_a_key_that_is_revoked_and_given_again(ably, listening, inbox):
    ably.allow(None)
    ably.strike(Fault.CONTINUITY_LOST)
    listening.until("key refused", "")
    ably.allow({"*": ("subscribe", "history")})
    during = ably.publish("blend", REBALANCE)
    inbox(during)
    live_again(ably, inbox, during)


def test_a_refused_history_is_loud_and_live_messages_still_come(ably, blend, inbox):
    ably.allow({"*": ("subscribe",)})
    with Listening(ably) as listener:
        listener.until("attached", "blend")
        eventually(lambda: Notification.objects.filter(title="Ably refuses the history of blend").exists(), "The alarm")
        inbox(ably.publish("blend", REBALANCE))
        assert "40160" in listener.listener.status.of("blend").report("blend").problem
        assert listener.listener.status.rebuilds == 0


def test_history_that_fails_is_read_again_until_it_answers(ably, listening, inbox):
    ably.set(rest_status=500)
    (unheard,) = ably.publish_batch("blend", [{"data": REBALANCE}], live=False)
    eventually(lambda: listening.listener.status.of("blend").history_problem, "Trouble with history")
    inbox(ably.publish("blend", REBALANCE))
    ably.set(rest_status=0)
    eventually(lambda: unheard in {event.message_id for event in inbox()}, "The missed message")


def test_a_token_that_has_run_out_is_renewed(ably, listening, inbox):
    ably.call(ably.store.tokens.clear)
    (unheard,) = ably.publish_batch("blend", [{"data": REBALANCE}], live=False)
    inbox(unheard)


def test_a_poison_batch_spoils_only_the_poison(ably, listening, inbox):
    good, bad, other = ably.publish_batch(
        "blend", [{"data": REBALANCE}, {"data": "{", "encoding": "json"}, {"data": '{"exec":"print-rebalance"}'}]
    )
    stored = {event.message_id: event.state for event in inbox(good, bad, other)}
    assert (stored[good], stored[bad], stored[other]) == ("accepted", "rejected", "accepted")
    assert listening.listener.status.rebuilds == 0


def test_a_message_named_error_is_found_in_history(ably, listening, inbox):
    (silent,) = ably.publish_batch("blend", [{"data": REBALANCE, "name": "error"}])
    assert [event.state for event in inbox(silent)] == ["accepted"]
    assert listening.listener.status.rebuilds == 0


def test_an_oversized_frame_does_not_hold_the_listener_in_a_loop(ably, listening, inbox):
    before = ably.publish("blend", REBALANCE)
    inbox(before)
    huge = ably.publish("blend", '{"exec":"rebalance","data":"' + "x" * 1_200_000 + '"}')
    inbox(before, huge)
    live_again(ably, inbox, before, huge)
    connects = ably.seen("connected")
    live_again(ably, inbox, *(event.message_id for event in inbox()))
    assert ably.seen("connected") == connects


def test_the_waits_of_an_installation_cure_every_row_within_90_seconds():
    """What the rows above prove with short waits holds for the real ones."""
    timing = Timing()
    assert timing.watch + timing.ping + timing.bad + timing.back_off_first < 90
    assert timing.reconcile + timing.grace + timing.back_off_first < 90
    assert timing.strategies + timing.request < 30
    assert timing.close + timing.drain < 4
    assert set(QUICK.model_dump()) == set(timing.model_dump())
