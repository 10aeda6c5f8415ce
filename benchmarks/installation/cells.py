"""Measure event to last fill over the wire-level gateway by number of accounts and worker processes."""

import itertools
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from benchmarks.ibkr import baseline
from benchmarks.ibkr.accounts import HELD, TARGETS, account_ids
from benchmarks.ibkr.gateway_process import GatewayProcess
from benchmarks.installation.costs import commits, processor_seconds
from benchmarks.installation.site import Workers, clear_installation, ended, make_accounts, send_event, until
from brokers.ibkr.client import InteractiveBrokers

ACCOUNTS = (1, 5, 20, 100)
PROCESSES = (1, 4, 8)
CLIENT_IDS = InteractiveBrokers.capabilities.client_ids
ORDERS_PER_ACCOUNT = len(HELD) + len(TARGETS)
WARM_ACCOUNTS = 24
"""Number of accounts previewed first: eight slots, so that each of up to eight processes has loaded its modules."""
STATISTICS_SECONDS = 1.1
"""Wait for PostgreSQL's counters, which lag by a second, in seconds."""


@dataclass(frozen=True)
class Cell:
    """One measurement. `seconds` is the time from before the event to the last fill, or None when the time limit was reached."""

    accounts: int
    processes: int
    seconds: float | None
    filled: int
    connections: int
    baseline_seconds: float
    commits: int
    processor_seconds: float
    load_average: float
    measured_at: str


def measure(accounts: int, processes: int, cell_seconds: float) -> Cell:
    """Measure one event, and the same orders sent by the baseline client over as many connections.

    Raises:
        AssertionError: an order was sent twice, a position went short, or a run did not end as completed.
        TimeoutError: the workers did not start, or the previews did not finish.
    """
    load_average = os.getloadavg()[0]
    clear_installation()
    with _gateway(max(accounts, WARM_ACCOUNTS)) as gateway, _workers(processes, gateway.port) as workers:
        strategy = make_accounts(account_ids(WARM_ACCOUNTS), TARGETS)
        until(ended(send_event(strategy, "print-rebalance")), cell_seconds, "The end of the previews")
        make_accounts(account_ids(accounts), TARGETS)
        committed, busy, began = commits(), processor_seconds(workers.group), time.time()
        event = send_event(strategy)
        try:
            runs = until(ended(event), cell_seconds, "The end of all runs")
        except TimeoutError:
            runs = None
        busy = processor_seconds(workers.group) - busy
        time.sleep(STATISTICS_SECONDS)
        committed, seen = commits() - committed, gateway.seen()
    assert (seen.sent_twice, seen.went_short) == (0, 0), seen
    if runs is not None:
        assert {run.state for run in runs} == {"completed"}, [(run.state, run.error_message) for run in runs]
        assert seen.filled == accounts * ORDERS_PER_ACCOUNT, seen
    return Cell(
        accounts=accounts,
        processes=processes,
        seconds=seen.last_fill_at - began if runs is not None else None,
        filled=seen.filled,
        connections=seen.clients,
        baseline_seconds=_baseline_seconds(accounts, min(accounts, CLIENT_IDS)),
        commits=committed,
        processor_seconds=busy,
        load_average=load_average,
        measured_at=datetime.now(UTC).strftime("%Y-%m-%d %H:%M"),
    )


def _baseline_seconds(accounts: int, connections: int) -> float:
    with _gateway(accounts) as gateway:
        began = baseline.send(gateway.port, accounts, connections)
        return gateway.seen().last_fill_at - began


@contextmanager
def _gateway(accounts: int) -> Iterator[GatewayProcess]:
    gateway = GatewayProcess(accounts)
    try:
        yield gateway
    finally:
        gateway.stop()


@contextmanager
def _workers(processes: int, ib_port: int) -> Iterator[Workers]:
    workers = Workers(processes, ib_port)
    try:
        yield workers
    finally:
        workers.stop()


def all_cells(accounts: tuple[int, ...], processes: tuple[int, ...]) -> list[tuple[int, int]]:
    """Return all combinations to measure, the fastest first."""
    return sorted(itertools.product(accounts, processes), key=lambda cell: (cell[0] / cell[1], cell))
