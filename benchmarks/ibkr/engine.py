"""Run the whole engine: event, rows, lease, connection, guards, snapshot, quotes, plan, what-if, sells, buys, report."""

import multiprocessing.connection
import os
import time
import uuid
from decimal import Decimal


def prepare(var_dir, database):
    """Create an installation with an empty database (sqlite, postgres) and policies without a band."""
    if database == "postgres":
        from tests.support.postgres import new_database

        database_url = new_database("bench")
    else:
        database_url = f"sqlite:///{var_dir}/bench.sqlite3"
    os.environ.update(
        REBALANCER_ENV_FILE="",
        VAR_DIR=str(var_dir),
        DATABASE_URL=database_url,
        SECRET_KEY="a-key-of-the-benchmark-only",
        TRADING_MODE="paper",
        MARKET_CALENDAR="always_open",
        LOG_LEVEL="ERROR",
        DJANGO_SETTINGS_MODULE="rebalancer_site.settings",
    )
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)


def make_accounts(ids):
    """Create accounts that follow one strategy of ten equal targets, without a trade guard because they trade repeatedly."""
    from accounts.models import Account, Strategy, TargetAllocation
    from benchmarks.ibkr.accounts import TARGETS

    strategy, _ = Strategy.objects.get_or_create(name="bench", defaults={"source": Strategy.Source.STATIC})
    for symbol in TARGETS:
        TargetAllocation.objects.get_or_create(strategy=strategy, symbol=symbol, defaults={"weight": Decimal("0.1")})
    others, _ = Strategy.objects.get_or_create(name="others", defaults={"source": Strategy.Source.STATIC})
    Account.objects.exclude(account_id__in=ids).update(strategy=others)
    for account_id in ids:
        Account.objects.get_or_create(
            account_id=account_id, defaults={"broker": "ibkr", "strategy": strategy, "trade_guard": "none"}
        )
    Account.objects.filter(account_id__in=ids).update(strategy=strategy)


class Workers:
    """Processes that wait for a slot to work on, like the queue's worker processes."""

    def __init__(self, number):
        self._context = multiprocessing.get_context("spawn")
        self._workers = [self._start() for _ in range(number)]
        for _, pipe in self._workers:
            pipe.recv()

    def work(self, slots, port):
        """Give each slot to the next free process; return when the last one has finished."""
        waiting, free, busy = list(slots), [pipe for _, pipe in self._workers], []
        while waiting or busy:
            while waiting and free:
                busy.append(free.pop())
                busy[-1].send((waiting.pop(0), port))
            for pipe in multiprocessing.connection.wait(busy):
                pipe.recv()
                busy.remove(pipe)
                free.append(pipe)

    def stop(self):
        for process, pipe in self._workers:
            pipe.send(None)
            process.join(10)

    def _start(self):
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_wait_for_work, args=(theirs,), daemon=True)
        process.start()
        return process, ours


def _wait_for_work(pipe):
    import django

    django.setup()
    from django.conf import settings

    import brokers.ibkr.client  # noqa: F401 - loaded in every worker after its first run
    from trading.engine.slot_worker import work_slot

    pipe.send("ready")
    while (work := pipe.recv()) is not None:
        slot, settings.IB_PORT = work
        pipe.send(work_slot(slot))


def run_event(workers, ids, port, command="rebalance"):
    """Send one event for all accounts. Return its start time, the event, and the number of slots that executed it."""
    from accounts.models import BrokerConnection
    from trading.inbox.receive import receive_event
    from trading.models import EventSource

    slots = list(BrokerConnection.objects.filter(accounts__account_id__in=ids).distinct().values_list("pk", flat=True))
    began = time.time()
    event = receive_event(
        source=EventSource.ABLY, channel="bench", message_id=str(uuid.uuid4()), payload={"exec": command}
    )
    workers.work(slots, port)
    return began, event, len(slots)
