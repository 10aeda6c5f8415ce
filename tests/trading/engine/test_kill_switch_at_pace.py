"""The kill switch while orders leave at the broker's pace, over the gateway on loopback."""

import threading
from decimal import Decimal

import pytest
from django.db import connections

from accounts.models import Account, RebalancePolicy
from brokers.ibkr.client import InteractiveBrokers
from brokers.ibkr.limits import Limits
from tests.support.ibkr_accounts import assert_orders_are_safe, gateway_account
from tests.support.ibkr_gateway import AccountRecords, GatewayThread, Kind
from tests.support.makers import policy, queue, strategy
from trading.actions.kill_switch import set_paused
from trading.common.timings import Timings
from trading.engine.slot_worker import work_slot
from trading.journal.runs import request_stop
from trading.models import Order, RebalanceRun

pytestmark = pytest.mark.django_db(transaction=True)

SYMBOLS = [f"S{first}{second}" for first in "ABCDE" for second in "ABCDE"]
ACCOUNTS = [f"DU{number}" for number in range(2000001, 2000006)]
ORDERS = len(SYMBOLS) * len(ACCOUNTS)
TIMINGS = Timings(quotes_seconds=10.0)
SENT_BEFORE = 45
"""Number of orders at the broker when the kill switch is turned on: beyond the burst that needs no pace."""


@pytest.fixture
def records():
    records = AccountRecords()
    for symbol in SYMBOLS:
        records.add_instrument(symbol)
    for account_id in ACCOUNTS:
        records.add_account(account_id, cash="250000")
    return records


@pytest.fixture
def gateway(records, settings, monkeypatch, transactional_db):
    RebalancePolicy.objects.get_or_create(is_default=True, defaults={"name": "default"})
    monkeypatch.setattr(InteractiveBrokers, "limits", Limits(values_lag_seconds=0.1, values_retry_seconds=0.05))
    monkeypatch.setattr(
        InteractiveBrokers, "capabilities", InteractiveBrokers.capabilities.model_copy(update={"what_if": False})
    )
    with GatewayThread(records) as gateway:
        settings.IB_PORT = gateway.port
        yield gateway


def queue_runs(accounts, symbols):
    """Queue a run of each account in one slot, to buy each symbol."""
    targets = {symbol: str(Decimal("0.96") / len(symbols)) for symbol in symbols}
    shared, own = strategy("all", targets), policy("wide", order_timeout_seconds=60)
    made = [gateway_account(account_id, {}, strategy=shared, policy=own) for account_id in accounts]
    Account.objects.update(connection=made[0].connection)
    return [queue(Account.objects.get(pk=account.pk)) for account in made]


def in_another_process(action):
    """Call a function with a database connection of its own, and wait for it."""

    def call() -> None:
        try:
            action()
        finally:
            connections.close_all()

    thread = threading.Thread(target=call)
    thread.start()
    thread.join(20)


class AtOrder:
    """Does something when the broker has accepted a number of orders, and counts the orders accepted since."""

    def __init__(self, gateway, number, action) -> None:
        self._number, self._action = number, action
        self._records = gateway.records
        self.at_commit = 0
        self.done = threading.Event()
        accept = gateway.gateway.on_accepted

        def on_accepted(order) -> None:
            accept(order)
            if len(self._records.orders) == number:
                threading.Thread(target=self._run).start()

        gateway.gateway.on_accepted = on_accepted

    def _run(self) -> None:
        in_another_process(self._action)
        self.at_commit = len(self._records.orders)
        self.done.set()


def test_kill_switch_lets_at_most_one_more_order_of_a_slot_leave(gateway, records):
    runs = queue_runs(ACCOUNTS, SYMBOLS)
    pause = AtOrder(gateway, SENT_BEFORE, lambda: set_paused(None, paused=True, reason="", by="test"))
    work_slot(runs[0].connection_id, TIMINGS)
    assert pause.done.wait(10)
    assert Order.objects.count() == ORDERS
    assert len(records.orders) <= pause.at_commit + 1
    incomplete = RebalanceRun.objects.exclude(state="completed")
    assert set(incomplete.values_list("error_code", flat=True)) == {"trading_paused"}
    assert Order.objects.filter(submitted_at__isnull=False).count() == len(records.orders)
    never_sent = Order.objects.filter(submitted_at__isnull=True)
    assert set(never_sent.values_list("state", flat=True)) == {"cancelled"}
    assert_orders_are_safe(records)


def pause_and_cancel() -> None:
    set_paused(None, paused=True, reason="", by="test", cancel_orders=True)


def stop_and_cancel() -> None:
    request_stop(RebalanceRun.objects.get().pk, "Tess", cancel_orders=True)


@pytest.mark.parametrize("action", [pause_and_cancel, stop_and_cancel])
def test_cancellation_of_working_orders_ends_the_run_stopped(gateway, records, action):
    """The order of the last symbol would stay open for a minute."""
    gateway.fault(Kind.NO_FILL, symbol=SYMBOLS[2])
    (run,) = queue_runs(ACCOUNTS[:1], SYMBOLS[:3])
    all_accepted = AtOrder(gateway, 3, action)
    work_slot(run.connection_id, TIMINGS)
    assert all_accepted.done.wait(10)
    assert not [order for order in records.orders if order.is_open]
    run.refresh_from_db()
    assert (run.state, run.error_code) == ("stopped", "run_stopped")
    cancelled = run.orders.get(state="cancelled")
    assert (cancelled.symbol, cancelled.filled_quantity) == (SYMBOLS[2], 0)
    assert f"BUY {cancelled.shares.normalize():f} {SYMBOLS[2]}" in run.error_message
