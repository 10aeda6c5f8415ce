"""What is measured: event to last fill, worker pick-up, intake."""

import itertools
import statistics
import time
from dataclasses import dataclass
from datetime import timedelta

from benchmarks.installation.site import Workers, finished, make_accounts, send_event, until

ACCOUNTS = (1, 5, 20, 100)
PROCESSES = (1, 2, 4)
SIMULATED_SYMBOLS = ("VTI", "VXUS", "BND", "BNDX", "VNQ", "GLD", "TLT", "IEF", "DBC", "VWO")
SIMULATED_HELD = {"AAPL": 60, "MSFT": 40, "ITOT": 100, "QQQ": 30, "VEA": 300}
FILL_SECONDS = 0.1
numbers = itertools.count()


@dataclass(frozen=True)
class Took:
    """One measurement: seconds from before the event to the last fill."""

    broker: str
    processes: int
    accounts: int
    orders: int
    seconds: float
    bare_seconds: float | None = None


def simulated(processes, accounts):
    """All accounts of the simulated broker at once, each with sells and buys."""
    from django.db.models import Max

    from brokers.simulated.books import open_account, set_position
    from brokers.simulated.models import SimulatedMarket
    from trading.models import Fill

    SimulatedMarket.objects.update_or_create(pk=1, defaults={"fill_latency_seconds": FILL_SECONDS})
    ids = [f"SIM-{next(numbers):06}" for _ in range(accounts)]
    strategy = make_accounts("simulated", ids, SIMULATED_SYMBOLS)
    for account_id in ids:
        open_account(account_id, cash_usd=1000)
        for symbol, shares in SIMULATED_HELD.items():
            set_position(account_id, symbol, shares)
    workers = Workers(processes)
    try:
        _warm_up(strategy)
        began, event, runs = _carry_out(strategy)
    finally:
        workers.stop()
    fills = Fill.objects.filter(order__run__event=event)
    last = fills.aggregate(last=Max("executed_at"))["last"].timestamp()
    return Took("simulated", processes, accounts, _orders(runs), last - began)


def interactive_brokers(processes, accounts):
    """The same over the wire-level gateway, beside a client that does nothing but send."""
    from benchmarks.ibkr import bare
    from benchmarks.ibkr.books import HELD, TARGETS, account_ids
    from benchmarks.ibkr.gateway_process import GatewayProcess

    ids = account_ids(accounts)
    strategy = make_accounts("ibkr", ids, TARGETS)
    gateway = GatewayProcess(accounts)
    workers = Workers(processes, gateway.port)
    try:
        _warm_up(strategy)
        began, _, runs = _carry_out(strategy)
        seen = gateway.seen()
    finally:
        workers.stop()
        gateway.stop()
    expected = accounts * (len(HELD) + len(TARGETS))
    assert (seen.orders, seen.filled, seen.sent_twice, seen.went_short) == (expected, expected, 0, 0), seen
    gateway = GatewayProcess(accounts)
    try:
        bare_began = bare.send(gateway.port, accounts, seen.clients)
        bare_seconds = gateway.seen().last_fill_at - bare_began
    finally:
        gateway.stop()
    return Took("ibkr", processes, accounts, _orders(runs), seen.last_fill_at - began, bare_seconds)


def _warm_up(strategy):
    """A preview of all, so that the processes have loaded what they need, as after their first run of the day."""
    event = send_event(strategy, f"warm-{next(numbers)}-{time.time()}", "print-rebalance")
    until(lambda: finished(event), "The end of the previews")


def _carry_out(strategy):
    began = time.time()
    event = send_event(strategy, f"bench-{next(numbers)}-{began}")
    runs = until(lambda: finished(event), "The end of all runs")
    assert {run.state for run in runs} == {"completed"}, [(run.state, run.error_message) for run in runs]
    return began, event, runs


def _orders(runs):
    return sum(run.orders.count() for run in runs)


def pick_up(events=15):
    """Milliseconds from the committed event to the start of its run in an idle worker, median and worst."""
    from brokers.simulated.books import open_account

    ids = [f"SIM-{next(numbers):06}"]
    strategy = make_accounts("simulated", ids, SIMULATED_SYMBOLS)
    open_account(ids[0], cash_usd=10_000)
    workers = Workers(2)
    waited = []
    try:
        for _ in range(events):
            event = send_event(strategy, f"bench-{next(numbers)}", "print-rebalance")
            (run,) = until(lambda event=event: finished(event), "The end of the run")
            waited.append((run.started_at - run.queued_at) / timedelta(milliseconds=1))
    finally:
        workers.stop()
    return statistics.median(waited), max(waited)


def intake(accounts):
    """Events a second that one listener can take in, for a strategy that so many accounts follow."""
    events = max(10, 200 // accounts)
    strategy = make_accounts("simulated", [f"IN-{number:06}" for number in range(accounts)], SIMULATED_SYMBOLS)
    began = time.monotonic()
    for _ in range(events):
        send_event(strategy, f"bench-{next(numbers)}", "print-rebalance")
    return events / (time.monotonic() - began)


WAYS = (simulated, interactive_brokers)
