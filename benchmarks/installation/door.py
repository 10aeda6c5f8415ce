"""What happens before the broker is asked: how fast events come in, and how soon a worker takes one up."""

import statistics
import time
from datetime import timedelta

from benchmarks.installation.site import SIMULATED_SYMBOLS, Workers, ended, make_accounts, put_aside, send_event, until

PICKED_UP = 15
FOLLOWERS = (1, 20, 100)
RUN_SECONDS = 30
INTAKE_SECONDS = 5.0


def pick_up() -> dict[str, float]:
    """Milliseconds from the committed event to the start of its run in an idle worker, median and worst."""
    from brokers.simulated.matching_engine import open_account

    put_aside()
    strategy = make_accounts(["SIM-1"], SIMULATED_SYMBOLS, broker="simulated")
    open_account("SIM-1", cash_usd=10_000)
    workers = Workers(2)
    waited = []
    try:
        for _ in range(PICKED_UP):
            (run,) = until(ended(send_event(strategy, "print-rebalance")), RUN_SECONDS, "The end of the run")
            waited.append((run.started_at - run.queued_at) / timedelta(milliseconds=1))
    finally:
        workers.stop()
    return {"median_ms": statistics.median(waited), "worst_ms": max(waited)}


def intake() -> dict[str, float]:
    """Events a second that one process can take in, by how many accounts follow the strategy."""
    rates = {}
    for followers in FOLLOWERS:
        put_aside()
        strategy = make_accounts(
            [f"IN-{number:06}" for number in range(followers)], SIMULATED_SYMBOLS, broker="simulated"
        )
        began, events = time.monotonic(), 0
        while time.monotonic() - began < INTAKE_SECONDS:
            send_event(strategy, "print-rebalance")
            events += 1
        rates[str(followers)] = events / (time.monotonic() - began)
    return rates
