"""Random faults from a seed: every published event is in the inbox exactly once."""

import random
import time

import pytest

from tests.support.ably_server import Fault
from tests.support.listening import Listening
from trading.models import RebalanceRun

EVENTS, FAULTS = 60, 30
PAYLOADS = ('{"exec":"rebalance"}', '{"exec":"print-rebalance"}', '{"exec":"rebalance","account_id":"U1"}')


def inject_fault(ably, rng):
    """Inject one random fault, and return how the next message is published."""
    match rng.choice(["strike", "strike", "strike", "rest", "refuse", "ignore", "history only", "twice"]):
        case "strike":
            ably.inject(rng.choice(list(Fault)))
        case "rest":
            ably.set(rest_status=rng.choice([0, 500, 503]))
        case "refuse":
            ably.set(refusing=rng.random() < 0.5)
        case "ignore":
            ably.set(attach_ignored={"blend"} if rng.random() < 0.5 else set())
        case "history only":
            return {"live": False}
        case "twice":
            return {"times": 2}
    return {}


@pytest.mark.parametrize("seed", [20261125])
def test_every_event_is_in_the_inbox_exactly_once(ably, blend, inbox, seed):
    rng = random.Random(seed)
    faults = set(rng.sample(range(EVENTS), FAULTS))
    restarts = set(rng.sample(range(10, EVENTS), 2))
    with Listening(ably) as first:
        first.until_attached("blend")
    listener, ids = Listening(ably).__enter__(), []
    for number in range(EVENTS):
        how = inject_fault(ably, rng) if number in faults else {}
        ids += ably.publish_batch("blend", [{"data": rng.choice(PAYLOADS)}], **how)
        if number in restarts:
            listener.__exit__()
            listener = Listening(ably).__enter__()
        time.sleep(rng.uniform(0, 0.15))  # so that faults occur in different states of the listener
        if rng.random() < 0.3:
            ably.set(stalled=False, refusing=False, rest_status=0, attach_ignored=set())
    ably.set(stalled=False, refusing=False, rest_status=0, attach_ignored=set())
    try:
        events = inbox(*ids)
        listener.until_attached("blend").until("listening")
    finally:
        listener.__exit__()
    assert {event.state for event in events} == {"accepted"}
    newest = max((event for event in events if event.exec == "rebalance"), key=lambda event: event.order)
    assert RebalanceRun.objects.get(state="queued", mode="execute").event == newest
