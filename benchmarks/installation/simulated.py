"""Measure one event of many accounts of the simulated broker: `python -m benchmarks.installation.simulated`.

The workers are a real `qworker`. Each account holds five positions that are not targets and buys ten that are.
"""

import argparse
import os
import tempfile
import threading
import time
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Self

from benchmarks.installation.costs import memory_mb, processor_seconds
from benchmarks.installation.site import SIMULATED_SYMBOLS, Workers, ended, make_accounts, prepare, send_event, until

HELD = ("SPY", "QQQ", "AAPL", "MSFT", "NVDA")
CASH_USD = Decimal(100_000)
SHARES = Decimal(10)
MEMORY_INTERVAL_SECONDS = 1.0


def measure(accounts: int, processes: int, limit_seconds: float) -> str:
    """Send one event, wait for all its runs, and return what happened as one line.

    Raises:
        TimeoutError: the runs did not end in time.
    """
    from brokers.simulated import matching_engine
    from brokers.simulated.models import SimulatedAccount, SimulatedOrder

    ids = [f"SIM-{number:04}" for number in range(accounts)]
    strategy = make_accounts(ids, SIMULATED_SYMBOLS, broker="simulated")
    for account_id in ids:
        matching_engine.open_account(account_id, cash_usd=CASH_USD)
        for symbol in HELD:
            matching_engine.set_position(account_id, symbol, SHARES)
    SimulatedAccount.objects.update(cash_usd=CASH_USD)
    load_average, workers = os.getloadavg()[0], Workers(processes)
    try:
        with _PeakMemory(workers.group) as memory:
            began = time.monotonic()
            runs = until(ended(send_event(strategy)), limit_seconds, "The end of all runs")
            seconds = time.monotonic() - began
        busy = processor_seconds(workers.group)
    finally:
        workers.stop()
    sent = Counter(SimulatedOrder.objects.values_list("client_order_id", flat=True))
    states = Counter(f"{run.state} {run.error_code}".strip() for run in runs)
    return (
        f"{accounts} accounts, {processes} processes: {seconds:.0f} s, {dict(states)}, {len(sent)} orders, "
        f"{sum(times - 1 for times in sent.values())} sent twice; workers: {busy:.0f} s of processor time, at most "
        f"{memory.peak_mb:.0f} MB; load average {load_average:.1f} before, {os.getloadavg()[0]:.1f} after"
    )


class _PeakMemory:
    """Measures the memory of a process group until the end of the block."""

    def __init__(self, group: int) -> None:
        self._group = group
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.peak_mb = 0.0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(MEMORY_INTERVAL_SECONDS):
            self.peak_mb = max(self.peak_mb, memory_mb(self._group))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--accounts", type=int, default=200, help="accounts of the event (default: 200)")
    parser.add_argument("--processes", type=int, default=8, help="worker processes (default: 8)")
    parser.add_argument("--database", choices=("sqlite", "postgres"), default="sqlite")
    parser.add_argument("--seconds", type=float, default=600, help="maximum time of the event, in seconds")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder), f"sqlite:///{folder}/rebalancer.sqlite3" if options.database == "sqlite" else "")
        print(f"{options.database}, {measure(options.accounts, options.processes, options.seconds)}")


if __name__ == "__main__":
    main()
