"""An installation of its own on PostgreSQL, with workers started as an operator would."""

import os
import signal
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WAIT_SECONDS = 600
LOOK_AGAIN_SECONDS = 0.05


def prepare(var_dir):
    """Makes the database, and Django ready in this process."""
    from tests.support.postgres import new_database

    os.environ.update(  # noqa: TID251 - it is the environment of an installation that is made here
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
    """One `qworker` with so many processes."""

    def __init__(self, number, ib_port=0):
        from django.db import connection

        from trading.models import ProcessHeartbeat

        assert connection.vendor == "postgresql"
        ProcessHeartbeat.objects.all().delete()
        environment = os.environ | {  # noqa: TID251 - as above
            "BENCH_WORKER_PROCESSES": str(number),
            "IB_PORT": str(ib_port or ""),
        }
        self._process = subprocess.Popen(
            [sys.executable, "manage.py", "qworker"], cwd=ROOT, env=environment, start_new_session=True
        )
        until(ProcessHeartbeat.objects.filter(kind="worker").exists, "A worker")

    def stop(self):
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(60)
        finally:
            if self._process.poll() is None:
                os.killpg(self._process.pid, signal.SIGKILL)


def until(condition, what):
    """Looks until the condition holds."""
    end = time.monotonic() + WAIT_SECONDS
    while not (found := condition()):
        if time.monotonic() > end:
            raise TimeoutError(f"{what} did not come within {WAIT_SECONDS} seconds.")
        time.sleep(LOOK_AGAIN_SECONDS)
    return found


def make_accounts(broker, ids, symbols):
    """Accounts of one broker that follow one strategy of equal targets; others are put aside."""
    from accounts.models import Account, Strategy, TargetAllocation

    strategy, _ = Strategy.objects.get_or_create(name=f"bench-{broker}", defaults={"source": Strategy.Source.STATIC})
    for symbol in symbols:
        weight = Decimal(1) / len(symbols)
        TargetAllocation.objects.get_or_create(strategy=strategy, symbol=symbol, defaults={"weight": weight})
    Account.objects.exclude(account_id__in=ids).update(strategy=None)
    for account_id in ids:
        account, _ = Account.objects.get_or_create(
            account_id=account_id, defaults={"broker": broker, "strategy": strategy, "trade_guard": "none"}
        )
        Account.objects.filter(pk=account.pk).update(strategy=strategy)
    return strategy


def send_event(strategy, message_id, command="rebalance"):
    """An event as Ably brings it, by the one door."""
    from trading.models import EventSource
    from trading.services import receive_event

    payload = {"exec": command}
    return receive_event(source=EventSource.ABLY, channel=strategy.name, message_id=message_id, payload=payload)


def finished(event):
    """The runs of the event, once all have ended."""
    ended = {"completed", "refused", "failed", "needs_attention"}
    runs = list(event.runs.all())
    return runs if runs and all(run.state in ended for run in runs) else None
