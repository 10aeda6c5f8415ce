"""Create an installation on PostgreSQL, with workers started as in production."""

import contextlib
import os
import signal
import subprocess
import sys
import time
import uuid
from decimal import Decimal
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 60
STOP_SECONDS = 10
POLL_SECONDS = 0.05
SIMULATED_SYMBOLS = ("VTI", "VXUS", "BND", "BNDX", "VNQ", "GLD", "TLT", "IEF", "DBC", "VWO")


def prepare(var_dir):
    """Create the database and set up Django in this process."""
    from tests.support.postgres import new_database

    os.environ.update(  # noqa: TID251 - the environment of the created installation
        REBALANCER_ENV_FILE="",
        VAR_DIR=str(var_dir),
        DATABASE_URL=new_database("bench"),
        SECRET_KEY="a-key-of-the-benchmark-only",
        TRADING_MODE="paper",
        MARKET_CALENDAR="always_open",
        LOG_LEVEL="ERROR",
        DJANGO_SETTINGS_MODULE="benchmarks.installation.settings",
    )
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)


class Workers:
    """One `qworker` with the given number of processes, in its own process group."""

    def __init__(self, number, ib_port=0):
        from trading.models import ProcessHeartbeat

        ProcessHeartbeat.objects.all().delete()
        environment = os.environ | {  # noqa: TID251 - as above
            "BENCH_WORKER_PROCESSES": str(number),
            "IB_PORT": str(ib_port or ""),
        }
        self._process = subprocess.Popen(
            [sys.executable, "manage.py", "qworker"],
            cwd=ROOT,
            env=environment,
            start_new_session=True,
            stderr=subprocess.DEVNULL,
        )
        self.group = self._process.pid
        until(ProcessHeartbeat.objects.filter(kind="worker").exists, START_SECONDS, "The start of a worker")

    def stop(self):
        """Send SIGTERM, then kill what is left, so that no process remains for the next measurement."""
        self._process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.group, signal.SIGKILL)
        self._process.wait(STOP_SECONDS)


def until(condition, seconds, what):
    """Poll the condition until it returns a true value, and return that value.

    Raises:
        TimeoutError: the condition was not met within the given seconds.
    """
    end = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > end:
            raise TimeoutError(f"{what} was not reached within {seconds:.0f} seconds.")
        time.sleep(POLL_SECONDS)
    return found


def clear_installation():
    """Delete the events, runs, queued tasks, accounts and slots of earlier measurements."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(
            "TRUNCATE trading_strategyevent, django_q_ormq, accounts_account, accounts_brokerconnection CASCADE"
        )


def make_accounts(ids, symbols, broker="ibkr"):
    """Create accounts of one broker that follow one strategy of equal targets, and remove all other followers."""
    from accounts.models import Account, Strategy, TargetAllocation

    strategy, _ = Strategy.objects.get_or_create(name=f"bench-{broker}", defaults={"source": Strategy.Source.STATIC})
    for symbol in symbols:
        weight = Decimal(1) / len(symbols)
        TargetAllocation.objects.get_or_create(strategy=strategy, symbol=symbol, defaults={"weight": weight})
    Account.objects.update(strategy=None)
    for account_id in ids:
        account, _ = Account.objects.get_or_create(
            account_id=account_id, defaults={"broker": broker, "trade_guard": "none"}
        )
        Account.objects.filter(pk=account.pk).update(strategy=strategy)
    return strategy


def send_event(strategy, command="rebalance"):
    """Send an event in the way an Ably message arrives, through the inbox."""
    from trading.inbox.receive import receive_event
    from trading.models import EventSource

    return receive_event(
        source=EventSource.ABLY,
        channel=strategy.name,
        message_id=f"bench-{uuid.uuid4()}",
        payload={"exec": command},
    )


def ended(event):
    """Return a condition that gives the runs of the event once all have ended."""
    ends = {"completed", "refused", "stopped", "failed", "needs_attention"}

    def runs():
        if event.runs.exclude(state__in=ends).exists():
            return None
        return list(event.runs.all())

    return runs
