"""A seeded soak: events over many accounts, while the broker misbehaves and workers are killed; then the ledger.

Run as `python -m tests.faults.soak` (or `make soak`). On PostgreSQL two clusters race for the same slots.
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
"""With those that an order's deadline ends."""
POINTS_OF_A_RUN = (
    "lease_claimed", "claim_written", "run_started", "orders_resolved", "planned", "orders_committed", "submitting_written",
    "submitting_committed", "before_send", "sent", "result_written", "acknowledged", "fill_written",
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
A_PERSON_CANCELS = """
from brokers.simulated import matching_engine
from brokers.simulated.models import SimulatedFault, SimulatedOrder
from trading.models import Order
SimulatedFault.objects.filter(kind="cancel_ignored").delete()
unknown = Order.objects.filter(state="unknown").values("client_order_id")
for order in SimulatedOrder.objects.filter(status="WORKING", client_order_id__in=unknown).select_related("account"):
    matching_engine.cancel(order.account.account_id, order.order_id)
"""
PERSON_COMES_EVERY = 25
"""After so many events somebody cancels at the broker what is unknown here and alive there."""
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
    """Sends events and does harm; returns the ledger with what was done.

    Args:
        rig: an installation without accounts.
        seed: decides which account, fault and kill comes when.
        events: how many.
        accounts: how many, five to a strategy and to a slot.
        clusters: how many supervisors race, with two workers each.
        kill_every: after so many events, on average, a worker is shot, and another dies at a fail point.
        at_most_waiting: the next event waits until so few runs are unfinished, and four of five also until their own
            accounts are idle, or most would be superseded.
        faults: of the broker, of which six of ten events bring one.
    """
    dice, began = random.Random(seed), time.monotonic()
    channels = [f"soak-{number}" for number in range(accounts // 5)]
    for number, channel in enumerate(channels):
        rig.accounts(*(f"S{number}-{i}" for i in range(5)), shared=channel)
    rig.ask("from accounts.models import RebalancePolicy; RebalancePolicy.objects.update(request_timeout_seconds=1)")
    crews = [rig.workers(2) for _ in range(clusters)]
    shot = 0
    for number in range(events):
        if number % PERSON_COMES_EVERY == PERSON_COMES_EVERY - 1:
            rig.ask(A_PERSON_CANCELS)
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
            shot += _shoot(dice, crews)
        times = dice.choice((1, 1, 1, 2))
        rig.wait_for(partial(_has_room, rig, channel, at_most_waiting, at_most_own), "A place for the next event", 240)
        rig.ask(EVENT.format(channel=channel, weights=weights, message=f"m-{number}", times=times))
    _calm_down(rig)
    ledger = rig.ledger()
    runs, orders, reasons = rig.ask(STATES)
    deaths = [code for crew in crews for code in crew.deaths()]
    return ledger | {
        "did": {
            "seconds": round(time.monotonic() - began),
            "kills": len(deaths),
            "shots": shot,
            "traded": rig.ask(TRADED),
            "runs": runs,
            "orders": orders,
            "reasons": reasons,
        },
        "codes": Counter(deaths),
    }


def _has_room(rig, channel, at_most_waiting, at_most_own):
    unfinished, own = rig.ask(BUSY.format(channel=channel))
    return unfinished <= at_most_waiting and own <= at_most_own


def _shoot(dice, crews):
    """Kills a worker, wherever it is."""
    with suppress(ProcessLookupError):
        os.kill(dice.choice(dice.choice(crews).children()), signal.SIGKILL)
        return 1
    return 0


def _calm_down(rig):
    """Waits until nothing is going on; a person cancels what is still alive at the broker."""
    for token in rig.points.iterdir():
        token.unlink(missing_ok=True)
    rig.wait_for(lambda: rig.ask(UNFINISHED)[0] == 0, "The end of all runs", 240)
    rig.ask("from brokers.simulated.models import SimulatedFault; SimulatedFault.objects.all().delete()")
    rig.ask(A_PERSON_CANCELS)
    rig.wait_for(lambda: rig.ask(UNFINISHED) == [0, 0], "The settling of all orders", 120)


def _counted(counts):
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))


def text(result):
    """The ledger for people."""
    counts, wrong, did = result["counts"], result["wrong"], result["did"]
    lines = [
        f"events {counts['events']}, of which {did['traded']} traded; runs {counts['runs']}",
        f"orders at the broker {counts['orders']}, fills {counts['fills']}",
        f"workers killed {did['kills']}, seconds {did['seconds']}",
        f"runs ended: {_counted(did['runs'])}",
        f"reasons: {_counted(did['reasons'])}",
        f"orders ended: {_counted(did['orders'])}",
        f"orders sent twice {len(counts['orders_sent_twice'])}",
        f"orders without an older row {len(counts['orders_without_an_older_row'])}",
        f"events lost {len(counts['events_lost']) + len(counts['runs_without_an_end'])}",
        f"accounts in disagreement {len(counts['accounts_in_disagreement'])}",
        f"negative cash {len(counts['negative_cash'])}",
    ]
    return "\n".join([*lines, *(f"{name}: {entry}" for name, found in wrong.items() for entry in found)])


def main():
    """The long version, on one database."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", choices=("sqlite", "postgres"), default="postgres")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--events", type=int, default=300)
    parser.add_argument("--accounts", type=int, default=40)
    parser.add_argument("--kill-every", type=float, default=4)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="rebalancer-soak-") as directory:
        url = f"sqlite:///{directory}/site.sqlite3"
        if asked.database == "postgres":
            from tests.support.postgres import new_database

            url = new_database("soak")
        site = Installation(
            Path(directory), url, LEASE_TTL_SECONDS="1", ORDER_SETTLE_SECONDS="0.3", LOG_LEVEL="WARNING"
        )
        site.manage("migrate", "-v0")
        try:
            result = soak(
                Rig(site),
                seed=asked.seed,
                events=asked.events,
                accounts=asked.accounts,
                clusters=2 if asked.database == "postgres" else 1,
                kill_every=asked.kill_every,
                faults=SLOW_FAULTS,
            )
        finally:
            site.close()
    sys.stdout.write(f"soak on {asked.database}, seed {asked.seed}, {asked.accounts} accounts\n{text(result)}\n")
    return 1 if result["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
