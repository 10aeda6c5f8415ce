"""A seeded soak test: events for many accounts during broker faults and worker kills; then the records are compared.

Run as `python -m tests.faults.soak` (or `make soak`). On PostgreSQL two clusters compete for the same slots.
"""

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from functools import partial
from pathlib import Path

from tests.faults.rig import Rig
from tests.support.installation import Installation

SYMBOLS = ("SPY", "IEF", "VTI", "GLD")
QUICK_FAULTS = (
    ("REJECT", {}),
    ("SLOW", {"number": 0.7}),
    ("SILENT", {}),
    ("LOST", {}),
    ("DISCONNECT_BEFORE", {}),
    ("DISCONNECT_AFTER", {}),
    ("DUPLICATE_UPDATE", {"times": 4}),
    ("INCOMPLETE", {}),
    ("MUTE", {}),
)
SLOW_FAULTS = (*QUICK_FAULTS, ("PARTIAL", {"number": 0.5}), ("SUPPRESSED_UPDATE", {"times": 2}), ("CANCEL_IGNORED", {}))
"""The quick faults, and those that last until an order's deadline."""
POINTS_OF_A_RUN = (
    "lease_claimed", "claim_written", "run_started", "orders_resolved", "planned", "orders_committed",
    "submitting_written", "submitting_committed", "before_send", "sent", "result_written", "acknowledged", "fill_written",
    "cancel_requested", "order_ended", "sells_done", "buys_done", "reported", "end_written", "lease_released",
)  # fmt: skip
EVENT = """
import uuid
from decimal import Decimal
from accounts.models import Strategy, TargetAllocation
from trading.models import EventSource
from trading.inbox.receive import receive_event
strategy = Strategy.objects.get(name={channel!r})
for symbol, weight in {weights!r}:
    TargetAllocation.objects.update_or_create(strategy=strategy, symbol=symbol, defaults=dict(weight=Decimal(weight)))
for again in range({times}):
    receive_event(source=EventSource.ABLY, channel={channel!r}, message_id={message!r}, payload=dict(exec="rebalance"))
"""
UNFINISHED = """
from trading.models import Order, OrderState, RebalanceRun
answer = (RebalanceRun.objects.filter(state__in=("queued", "running")).count(),
          Order.objects.filter(state__in=OrderState.open_states()).count())
"""
BUSY = """
from trading.models import RebalanceRun
unfinished = RebalanceRun.objects.filter(state__in=("queued", "running"))
answer = (unfinished.count(), unfinished.filter(strategy_name={channel!r}).count())
"""
CANCEL_UNKNOWN_ORDERS = """
from brokers.simulated import matching_engine
from brokers.simulated.models import SimulatedFault, SimulatedOrder
from trading.models import Order
SimulatedFault.objects.filter(kind="cancel_ignored").delete()
unknown = Order.objects.filter(state="unknown").values("client_order_id")
for order in SimulatedOrder.objects.filter(status="WORKING", client_order_id__in=unknown).select_related("account"):
    matching_engine.cancel(order.account.account_id, order.order_id)
"""
CANCEL_INTERVAL = 25
"""Events between two cancellations of orders that are unknown in the journal and open at the broker."""
TRADED = """
from trading.models import StrategyEvent
answer = StrategyEvent.objects.filter(runs__orders__fills__isnull=False).distinct().count()
"""
STATES = """
from collections import Counter
from trading.models import Order, RebalanceRun
codes = RebalanceRun.objects.exclude(state="superseded").exclude(error_code="").values_list("error_code", flat=True)
states = [Counter(rows.objects.values_list("state", flat=True)) for rows in (RebalanceRun, Order)]
answer = [*states, Counter(codes)]
"""


def soak(rig, *, seed, events, accounts, clusters, kill_every, faults=QUICK_FAULTS, at_most_waiting=20):
    """Send events and inject faults; return the comparison of the records and statistics.

    Args:
        rig: an installation without accounts.
        seed: seed of the choice of accounts, faults and kills.
        events: number of events.
        accounts: number of accounts, five to a strategy and to a slot.
        clusters: number of supervisors that compete for the slots, with two workers each.
        kill_every: average number of events until a worker is killed, and until another dies at a fail point.
        at_most_waiting: maximum number of unfinished runs when the next event is sent. Four of five events also wait
            until their own accounts are idle, or most would be superseded.
        faults: broker faults, one of which comes with six of ten events.
    """
    dice, began = random.Random(seed), time.monotonic()
    channels = [f"soak-{number}" for number in range(accounts // 5)]
    for number, channel in enumerate(channels):
        rig.accounts(*(f"S{number}-{i}" for i in range(5)), shared=channel)
    rig.evaluate(
        "from accounts.models import RebalancePolicy; RebalancePolicy.objects.update(request_timeout_seconds=1)"
    )
    crews = [rig.workers(2) for _ in range(clusters)]
    killed = 0
    for number in range(events):
        if number % CANCEL_INTERVAL == CANCEL_INTERVAL - 1:
            rig.evaluate(CANCEL_UNKNOWN_ORDERS)
            sys.stderr.write(f"{number + 1} events, {time.monotonic() - began:.0f} seconds\n")
        channel = dice.choice(channels)
        at_most_own = 0 if dice.random() < 0.8 else accounts
        share = dice.randint(20, 75)
        weights = [("SPY", f"0.{share}"), ("IEF", f"0.{95 - share:02}")]
        if dice.random() < 0.6:
            kind, fields = dice.choice(faults)
            account = f"S{channel[5:]}-{dice.randrange(5)}"
            fields = fields if kind in {"MUTE", "INCOMPLETE"} else fields | {"symbol": dice.choice(SYMBOLS[:2])}
            rig.fault(kind, account, **fields)
        if dice.random() < 1 / kill_every:
            rig.arm(dice.choice(POINTS_OF_A_RUN))
        if dice.random() < 1 / kill_every:
            killed += _kill_a_worker(dice, crews)
        times = dice.choice((1, 1, 1, 2))
        rig.wait_for(partial(_has_room, rig, channel, at_most_waiting, at_most_own), "Room for the next event", 240)
        rig.evaluate(EVENT.format(channel=channel, weights=weights, message=f"m-{number}", times=times))
    _wait_until_resolved(rig)
    comparison = rig.comparison()
    runs, orders, reasons = rig.evaluate(STATES)
    deaths = [code for crew in crews for code in crew.deaths()]
    return comparison | {
        "statistics": {
            "seconds": round(time.monotonic() - began),
            "kills": len(deaths),
            "kills_at_random": killed,
            "traded": rig.evaluate(TRADED),
            "runs": runs,
            "orders": orders,
            "reasons": reasons,
        },
        "codes": Counter(deaths),
    }


def _has_room(rig, channel, at_most_waiting, at_most_own):
    unfinished, own = rig.evaluate(BUSY.format(channel=channel))
    return unfinished <= at_most_waiting and own <= at_most_own


def _kill_a_worker(dice, crews):
    """Kill a worker at an arbitrary moment. Return how many were killed."""
    with suppress(ProcessLookupError):
        os.kill(dice.choice(dice.choice(crews).children()), signal.SIGKILL)
        return 1
    return 0


def _wait_until_resolved(rig):
    """Wait until all runs have ended, cancel open unknown orders at the broker, and wait until all are resolved."""
    for token in rig.points.iterdir():
        token.unlink(missing_ok=True)
    rig.wait_for(lambda: rig.evaluate(UNFINISHED)[0] == 0, "The end of all runs", 240)
    rig.evaluate("from brokers.simulated.models import SimulatedFault; SimulatedFault.objects.all().delete()")
    rig.evaluate(CANCEL_UNKNOWN_ORDERS)
    rig.wait_for(lambda: rig.evaluate(UNFINISHED) == [0, 0], "The resolution of all orders", 120)


def _counted(counts):
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))


def text(result):
    """Return the result as text."""
    counts, differences, statistics = result["counts"], result["differences"], result["statistics"]
    lines = [
        f"events {counts['events']}, of which {statistics['traded']} traded; runs {counts['runs']}",
        f"orders at the broker {counts['orders']}, fills {counts['fills']}",
        f"workers killed {statistics['kills']}, seconds {statistics['seconds']}",
        f"runs ended: {_counted(statistics['runs'])}",
        f"reasons: {_counted(statistics['reasons'])}",
        f"orders ended: {_counted(statistics['orders'])}",
        f"orders sent twice {len(counts['orders_sent_twice'])}",
        f"orders sent before their row was committed {len(counts['orders_sent_before_their_row'])}",
        f"events lost {len(counts['events_lost']) + len(counts['runs_not_ended'])}",
        f"differences in fills, shares or cash {len(counts['account_differences'])}",
        f"accounts with negative cash {len(counts['negative_cash'])}",
    ]
    return "\n".join([*lines, *(f"{name}: {entry}" for name, found in differences.items() for entry in found)])


def main():
    """Run the long version on one database. Return 1 if the records differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", choices=("sqlite", "postgres"), default="postgres")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--events", type=int, default=300)
    parser.add_argument("--accounts", type=int, default=40)
    parser.add_argument("--kill-every", type=float, default=4)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="rebalancer-soak-") as directory:
        url = f"sqlite:///{directory}/site.sqlite3"
        if options.database == "postgres":
            from tests.support.postgres import new_database

            url = new_database("soak")
        site = Installation(
            Path(directory), url, LEASE_TTL_SECONDS="1", ORDER_SETTLE_SECONDS="0.3", LOG_LEVEL="WARNING"
        )
        site.manage("migrate", "-v0")
        try:
            result = soak(
                Rig(site),
                seed=options.seed,
                events=options.events,
                accounts=options.accounts,
                clusters=2 if options.database == "postgres" else 1,
                kill_every=options.kill_every,
                faults=SLOW_FAULTS,
            )
        finally:
            site.close()
    sys.stdout.write(f"soak on {options.database}, seed {options.seed}, {options.accounts} accounts\n{text(result)}\n")
    return 1 if result["differences"] else 0


if __name__ == "__main__":
    sys.exit(main())
