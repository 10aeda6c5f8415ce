"""An installation for fault tests: workers to kill, fail points to arm, broker faults to set, records to compare."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.support.installation import ROOT

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
    """An installation with accounts of the simulated broker, and functions that inject faults."""

    def __init__(self, site):
        self.site = site
        self.points = site.directory / "fail-points"
        self.points.mkdir(exist_ok=True)
        site.environment["FAIL_POINTS_DIR"] = str(self.points)
        self.armed = 0
        self.opening = {}

    def accounts(self, *names, shared="", latency=0.0):
        """Open accounts, each with its own strategy or all with a shared one."""
        self.evaluate(SETUP.format(names=names, shared=shared, latency=latency))
        self.opening |= dict.fromkeys(names, OPENING)

    def evaluate(self, code):
        """Run statements in the installation's console and return their variable `answer`."""
        return self.site.evaluate(code)

    def reconnect(self):
        """Close the console's database connections, so that it opens new ones."""
        self.evaluate("from django.db import connections; connections.close_all()")

    def exit_code_of(self, code):
        """Run statements in a separate process of the installation and return its exit code."""
        return self.site.request({"code": code, "apart": True})["exit"]

    def workers(self, count=1):
        """Start workers under a supervisor."""
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
        """Arm a fail point once."""
        self.armed += 1
        incomplete = self.points / f"incomplete-{self.armed}"
        incomplete.write_text(f"{action} {account}")
        return incomplete.rename(self.points / f"{point}.{self.armed:05}")

    def fault(self, kind, account, **fields):
        """Set a fault of the simulated broker."""
        self.evaluate(
            "from brokers.simulated.faults import Kind, set_fault\n"
            f"set_fault(Kind.{kind}, account_id={account!r}, **{fields!r})"
        )

    def event(self, account, message_id=None):
        """Receive an event that rebalances an account, and return the id of its run."""
        return self.evaluate(EVENT.format(account=account, message_id=message_id))

    def run(self, run_id):
        """Return the stored facts of a run."""
        return self.evaluate(
            "from trading.models import RebalanceRun\n"
            f"run = RebalanceRun.objects.get(run_id={run_id!r})\n"
            "answer = dict(state=run.state, code=run.error_code, message=run.error_message, attempts=run.attempts, "
            "idle=run.idle_attempts, step=run.step, orders=[[o.symbol, o.state, int(o.filled_quantity)] "
            "for o in run.orders.order_by('sequence')], timeline=[entry.code for entry in run.timeline.all()])"
        )

    def ended(self, run_id, seconds=60):
        """Wait until the run has ended and return it."""
        return self.wait_for(
            lambda: (run := self.run(run_id))["state"] not in {"queued", "running"} and run,
            f"The end of run {run_id}",
            seconds,
        )

    def wait_for(self, condition, what, seconds=60):
        """Wait until the condition returns something true, and return that."""
        return self.site.wait_for(condition, what, seconds)

    def comparison(self):
        """Return the differences between the broker's records and the journal, and the counts."""
        return self.evaluate(
            "from dataclasses import asdict\n"
            "from tests.faults.comparison import compare_records\n"
            f"comparison = compare_records({self.opening!r})\n"
            "answer = dict(differences=comparison.differences(), counts=asdict(comparison))"
        )

    def assert_records_agree(self):
        """Assert that the broker's records match the journal, and that nothing was sent twice or lost."""
        assert self.comparison()["differences"] == {}


class Workers:
    """A supervisor and its workers."""

    def __init__(self, rig, process, directory):
        self.rig = rig
        self.process = process
        self.directory = directory

    def deaths(self):
        """Return the exit codes of the workers that have died so far, oldest first."""
        path = self.directory / "deaths"
        return [int(line.split()[1]) for line in path.read_text().splitlines()] if path.exists() else []

    def children(self):
        """Return the process ids of the workers."""
        path = self.directory / "children"
        return self.rig.wait_for(lambda: path.exists() and [int(pid) for pid in path.read_text().split()], "Workers")

    def stopped_child(self):
        """Wait until a fail point has stopped a worker and return its process id."""

        def stopped():
            for pid in self.children():
                try:
                    stat = Path(f"/proc/{pid}/stat").read_text()
                except OSError:
                    continue
                if stat.rpartition(")")[2].split()[0] == "T":
                    return pid
            return None

        return self.rig.wait_for(stopped, "A stopped worker")

    def end(self):
        """End the supervisor and its workers."""
        self.rig.site.kill(self.process, signal.SIGKILL)

    def resume(self, pid):
        """Resume a stopped worker."""
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
