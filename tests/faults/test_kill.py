"""Kill a real worker with kill -9 at every step of a run: no order is sent twice or lost, and the run ends."""

import os
import re
from pathlib import Path

import pytest

from trading.common.fail_points import FailPoint

INBOX_POINTS = (FailPoint.EVENT_WRITTEN, FailPoint.EVENT_COMMITTED)
RUN_POINTS = [point for point in FailPoint if point not in INBOX_POINTS]
REPRESENTATIVE = [
    FailPoint.CLAIM_WRITTEN,
    FailPoint.SUBMITTING_COMMITTED,
    FailPoint.BEFORE_SEND,
    FailPoint.SENT,
    FailPoint.FILL_WRITTEN,
    FailPoint.CANCEL_REQUESTED,
    FailPoint.SELLS_DONE,
    FailPoint.END_WRITTEN,
]
POINTS = RUN_POINTS if os.environ.get("FAULTS") == "full" else REPRESENTATIVE
EVENTS = "from trading.models import StrategyEvent; answer = StrategyEvent.objects.filter(message_id={!r}).count()"
BY_HAND = """
from decimal import Decimal
from brokers.simulated.matching_engine import take_order
from brokers.broker_types import OrderType, TimeInForce
take_order({account!r}, "GLD", Decimal(1), OrderType.LIMIT, Decimal("1.00"), "by-hand", TimeInForce.GTC)
"""


@pytest.fixture(scope="module")
def rig(new_rig, channel):
    rig = new_rig(
        USER_NOTIFICATIONS_ENABLED="true", USER_NOTIFICATIONS_CHANNEL="kill", USER_NOTIFICATIONS_SERVER_URL=channel[0]
    )
    rig.accounts(*(f"K-{point}" for point in (*POINTS, *INBOX_POINTS, "paused", "deadly", "beside")))
    return rig


@pytest.fixture(scope="module")
def workers(rig):
    return rig.workers(1)


def prepare(rig, point, account):
    """Make a run of the account reach the point. Return how many workers will die."""
    if point == FailPoint.OPEN_ORDERS_CANCELLED:
        rig.evaluate(BY_HAND.format(account=account))
    if point == FailPoint.CANCEL_REQUESTED:
        # A worker dies while an order is open at the broker; the next one cancels it and dies as well.
        rig.fault("SLOW", account, symbol="VTI", number=30)
        rig.arm(FailPoint.ACKNOWLEDGED, account=account)
        return 2
    if point == FailPoint.FINDING_WRITTEN:
        rig.fault("LOST", account, symbol="SPY")
    return 1


@pytest.mark.parametrize("point", POINTS)
def test_worker_killed_at_a_step_leaves_a_run_that_another_completes(rig, workers, point):
    account, before = f"K-{point}", len(workers.deaths())
    deaths = prepare(rig, point, account)
    armed = rig.arm(point)
    run_id = rig.event(account)
    run = rig.ended(run_id)
    rig.wait_for(lambda: len(workers.deaths()) == before + deaths, "The expected deaths")
    assert set(workers.deaths()) == {-9} and not armed.exists()
    assert run["state"] == "completed", run
    assert {state for _, state, _ in run["orders"]} <= {"filled", "cancelled", "lost"}
    rig.assert_records_agree()


@pytest.mark.parametrize("point", INBOX_POINTS)
def test_event_whose_receiver_is_killed_is_stored_once_when_redelivered(rig, workers, point):
    from tests.faults.rig import EVENT

    rig.arm(point)
    assert rig.exit_code_of(EVENT.format(account=f"K-{point}", message_id=f"m-{point}")) == -9
    assert rig.evaluate(EVENTS.format(f"m-{point}")) == (1 if point == FailPoint.EVENT_COMMITTED else 0)
    run = rig.ended(rig.event(f"K-{point}", f"m-{point}"))
    assert run["state"] == "completed"
    assert rig.evaluate(EVENTS.format(f"m-{point}")) == 1
    rig.assert_records_agree()


def test_worker_paused_beyond_its_lease_sends_nothing_when_it_resumes(rig, workers):
    rig.arm(FailPoint.SUBMITTING_COMMITTED, "stop")
    run_id = rig.event("K-paused")
    stopped = workers.stopped_child()
    others = rig.workers(1)
    run = rig.ended(run_id)
    workers.resume(stopped)
    assert run["state"] == "completed" and "taken_over" in run["timeline"], run
    assert "lost" in {state for _, state, _ in run["orders"]}, (
        "the order that it was about to send did not reach the broker"
    )
    rig.ended(rig.event("K-paused"))  # the resumed worker has noticed by now, and works on
    others.end()
    rig.assert_records_agree()


def test_run_that_always_kills_its_worker_needs_attention_and_affects_no_other(rig, workers):
    for _ in range(9):
        rig.arm(FailPoint.RUN_STARTED, account="K-deadly")
    deadly, beside = rig.event("K-deadly"), rig.event("K-beside")
    run = rig.ended(deadly)
    assert (run["state"], run["code"]) == ("needs_attention", "too_many_attempts")
    assert rig.ended(beside)["state"] == "completed"
    for token in rig.points.iterdir():
        token.unlink()
    rig.assert_records_agree()


def test_every_fail_point_is_reached_and_tested(rig):
    code = "\n".join(path.read_text() for path in Path("trading").rglob("*.py"))
    for point in FailPoint:
        assert re.search(rf"\breached\)?\(FailPoint\.{point.name}\b", code), point
    assert set(RUN_POINTS) | set(INBOX_POINTS) == set(FailPoint)
    assert set(REPRESENTATIVE) <= set(RUN_POINTS)
