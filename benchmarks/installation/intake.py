"""Measure the steps before the broker: how many events are accepted per second, and how soon a worker starts a run."""

import statistics
import time
from datetime import timedelta

from benchmarks.installation.site import (
    SIMULATED_SYMBOLS,
    Workers,
    clear_installation,
    ended,
    make_accounts,
    send_event,
    until,
)

STARTED_RUNS = 15
FOLLOWERS = (1, 20, 100)
RUN_SECONDS = 30
INTAKE_SECONDS = 5.0


def start_latency() -> dict[str, float]:
    """Return the time from the committed event to the start of its run in an idle worker: median and worst, in milliseconds."""
    from brokers.simulated.matching_engine import open_account

    clear_installation()
    strategy = make_accounts(["SIM-1"], SIMULATED_SYMBOLS, broker="simulated")
    open_account("SIM-1", cash_usd=10_000)
    workers = Workers(2)
    waited = []
    try:
        for _ in range(STARTED_RUNS):
            (run,) = until(ended(send_event(strategy, "print-rebalance")), RUN_SECONDS, "The end of the run")
            waited.append((run.started_at - run.queued_at) / timedelta(milliseconds=1))
    finally:
        workers.stop()
    return {"median_ms": statistics.median(waited), "worst_ms": max(waited)}


def rates() -> dict[str, float]:
    """Return the events per second that one process accepts, by number of accounts that follow the strategy."""
    measured = {}
    for followers in FOLLOWERS:
        clear_installation()
        strategy = make_accounts(
            [f"IN-{number:06}" for number in range(followers)], SIMULATED_SYMBOLS, broker="simulated"
        )
        began, events = time.monotonic(), 0
        while time.monotonic() - began < INTAKE_SECONDS:
            send_event(strategy, "print-rebalance")
            events += 1
        measured[str(followers)] = events / (time.monotonic() - began)
    return measured
