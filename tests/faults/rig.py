"""An installation to break: warm processes to ask and to kill, fail points to arm, books to compare."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.support.installation import ROOT

LOOK_AGAIN_SECONDS = 0.05
SETUP = """
from datetime import datetime, UTC
from decimal import Decimal
from accounts.models import Account, RebalancePolicy, Strategy, TargetAllocation
from brokers.simulated.matching_engine import open_account, set_position
from brokers.simulated.models import SimulatedMarket
SimulatedMarket.objects.update_or_create(pk=1, defaults=dict(
    frozen_at=datetime(2026, 11, 24, 15, tzinfo=UTC), fill_latency_seconds={latency}, quote_latency_seconds=0.0))
RebalancePolicy.objects.filter(is_default=True).update(
    order_timeout_seconds=5, commission_kind="per_share", minimum_cash_reserve_usd=0,
    allocation_threshold_percent=1, max_turnover_percent=200)
for number, name in enumerate({names!r}):
    strategy, _ = Strategy.objects.get_or_create(name={shared!r} or name.lower(), defaults=dict(source="static"))
    for symbol, weight in (("SPY", "0.5"), ("IEF", "0.45")):
        TargetAllocation.objects.update_or_create(strategy=strategy, symbol=symbol, defaults=dict(weight=Decimal(weight)))
    account = Account(account_id=name, broker="simulated", strategy=strategy, trade_guard="none")
    account.save()
    open_account(name, cash_usd=Decimal(20000))
    from brokers.simulated.models import SimulatedAccount
    SimulatedAccount.objects.filter(account_id=name).update(cash_usd=Decimal(20000))
    set_position(name, "VTI", Decimal(100))
    set_position(name, "GLD", Decimal(20))
"""
OPENING = {"cash": "20000", "shares": {"VTI": "100", "GLD": "20"}}


class Rig:
    """An installation with accounts of the simulated broker, and ways to hurt it."""

    def __init__(self, site):
        self.site = site
        self.points = site.directory / "fail-points"
        self.points.mkdir(exist_ok=True)
        site.environment["FAIL_POINTS_DIR"] = str(self.points)
        self.armed = 0
        self.opening = {}

    def accounts(self, *names, shared="", latency=0.0):
        """Opens accounts, each with a strategy of its own or all with one."""
        self.ask(SETUP.format(names=names, shared=shared, latency=latency))
        self.opening |= dict.fromkeys(names, OPENING)

    def ask(self, code):
        """Runs statements inside the installation; returns what they make of `answer`."""
        return self.site.ask(code)

    def reconnect(self):
        """Lets the console open a new connection; its old one is gone."""
        self.ask("from django.db import connections; connections.close_all()")

    def apart(self, code):
        """Runs statements in a process of their own inside the installation; returns how it ended."""
        return self.site.request({"code": code, "apart": True})["exit"]

    def workers(self, count=1):
        """Starts workers under a supervisor."""
        number = len(self.site.processes)
        directory = self.site.directory / f"supervised-{number}"
        directory.mkdir()
        log = (directory / "log").open("w")
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.supervised", str(directory), str(count)],
            cwd=ROOT,
            env=self.site.environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        log.close()
        self.site.processes.append(process)
        return Workers(self, process, directory)

    def arm(self, point, action="kill", account=""):
        """Arms a fail point once."""
        self.armed += 1
        aside = self.points / f"aside-{self.armed}"
        aside.write_text(f"{action} {account}")
        return aside.rename(self.points / f"{point}.{self.armed:05}")

    def fault(self, kind, account, **fields):
        """Scripts a fault of the simulated broker."""
        self.ask(
            "from brokers.simulated.faults import Kind, set_fault\n"
            f"set_fault(Kind.{kind}, account_id={account!r}, **{fields!r})"
        )

    def event(self, account, message_id=None):
        """Asks for a rebalance of an account; returns the run's id."""
        return self.ask(EVENT.format(account=account, message_id=message_id))

    def run(self, run_id):
        """The run as the row has it."""
        return self.ask(
            "from trading.models import RebalanceRun\n"
            f"run = RebalanceRun.objects.get(run_id={run_id!r})\n"
            "answer = dict(state=run.state, code=run.error_code, message=run.error_message, attempts=run.attempts, "
            "idle=run.idle_attempts, step=run.step, orders=[[o.symbol, o.state, int(o.filled_quantity)] "
            "for o in run.orders.order_by('sequence')], timeline=[entry.code for entry in run.timeline.all()])"
        )

    def ended(self, run_id, seconds=60):
        """The run, once it has ended."""
        return self.wait_for(
            lambda: (run := self.run(run_id))["state"] not in {"queued", "running"} and run,
            f"The end of run {run_id}",
            seconds,
        )

    def wait_for(self, condition, what, seconds=60):
        """Looks until the condition holds; a failure shows the logs."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if found := condition():
                return found
            time.sleep(LOOK_AGAIN_SECONDS)
        raise AssertionError(f"{what} did not happen within {seconds} seconds.\n{self.logs()[-5000:]}")

    def logs(self):
        """What all processes have written."""
        found = [*self.site.directory.glob("supervised-*/log"), *self.site.directory.glob("*.log")]
        return "\n".join(path.read_text() for path in found)

    def ledger(self):
        """What is wrong, if anything; and the counts."""
        return self.ask(
            "from dataclasses import asdict\n"
            "from tests.faults.ledger import take_stock\n"
            f"ledger = take_stock({self.opening!r})\n"
            "answer = dict(wrong=ledger.wrong(), counts=asdict(ledger))"
        )

    def assert_all_is_well(self):
        """The broker's own books and the journal agree, and nothing was sent twice or lost."""
        assert self.ledger()["wrong"] == {}


class Workers:
    """A supervisor and its workers."""

    def __init__(self, rig, process, directory):
        self.rig = rig
        self.process = process
        self.directory = directory

    def deaths(self):
        """Exit codes of the workers that have died so far, in order."""
        path = self.directory / "deaths"
        return [int(line.split()[1]) for line in path.read_text().splitlines()] if path.exists() else []

    def children(self):
        """Process ids of the workers."""
        path = self.directory / "children"
        return self.rig.wait_for(lambda: path.exists() and [int(pid) for pid in path.read_text().split()], "Workers")

    def stopped_child(self):
        """The worker that a fail point has stopped, once there is one."""

        def stopped():
            for pid in self.children():
                try:
                    stat = Path(f"/proc/{pid}/stat").read_text()
                except OSError:
                    continue
                if stat.rpartition(")")[2].split()[0] == "T":
                    return pid
            return None

        return self.rig.wait_for(stopped, "A worker that stands still")

    def end(self):
        """Ends the supervisor and its workers."""
        self.rig.site.kill(self.process, signal.SIGKILL)

    def wake(self, pid):
        """Lets a worker that was stopped go on."""
        os.kill(pid, signal.SIGCONT)


EVENT = """
import uuid
from trading.models import EventSource
from trading.inbox.receive import receive_event
event = receive_event(source=EventSource.ABLY, channel="", message_id={message_id!r} or str(uuid.uuid4()),
    payload=dict(exec="rebalance", account_id={account!r}))
run = event.runs.first()
answer = run.run_id
"""
