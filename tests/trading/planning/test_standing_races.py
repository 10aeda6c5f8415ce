"""A comparison and a change of settings at the same time: no comparison outlives the settings that it was made under."""

import threading
from collections.abc import Callable
from decimal import Decimal

import pytest
from django.db import connection, transaction
from django.utils import timezone

from accounts.models import TargetAllocation
from brokers.broker_types import AccountPosition, AccountSnapshot
from trading.models import AccountStanding
from trading.planning import standing_updates
from trading.planning.standing_updates import compare_again, store_look

pytestmark = pytest.mark.django_db(transaction=True)
WAIT = 10


def snapshot():
    held = (("SPY", "60"), ("IEF", "40"))
    positions = tuple(
        AccountPosition(symbol=symbol, quantity=Decimal(n), market_price=Decimal(100), contract_id=symbol)
        for symbol, n in held
    )
    return AccountSnapshot(
        account_id="U1", total_value_usd=Decimal(10_000), cash_usd=Decimal(0), positions=positions, as_of=timezone.now()
    )


def in_thread(function: Callable[[], None]) -> threading.Thread:
    def run():
        try:
            function()
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def halve_spy():
    row = TargetAllocation.objects.get(symbol="SPY")
    row.weight = Decimal("0.3")
    row.save()


@pytest.fixture
def account(make_account):
    account = make_account()
    assert store_look(account.pk, snapshot())
    return account


@pytest.mark.parametrize("comparison", ["look", "again"])
def test_change_during_a_comparison_voids_its_result(account, monkeypatch, comparison):
    """The change waits for the comparison, which has read the settings of before, and then finds its digests."""
    if comparison == "again":
        AccountStanding.objects.update(state="void")
    read, changed, judge = threading.Event(), threading.Event(), standing_updates.judge

    def slow_judge(*arguments):
        read.set()
        assert not changed.wait(0.5)  # the change waits for this comparison
        return judge(*arguments)

    monkeypatch.setattr(standing_updates, "judge", slow_judge)
    comparing = in_thread(lambda: store_look(account.pk, snapshot()) if comparison == "look" else compare_again())
    assert read.wait(WAIT)
    changing = in_thread(lambda: (halve_spy(), changed.set()))
    comparing.join(WAIT)
    changing.join(WAIT)
    standing = AccountStanding.objects.get()
    assert (standing.state, standing.reason_code) == ("void", "targets_changed")
    monkeypatch.undo()
    compare_again()
    assert (AccountStanding.objects.get().state, AccountStanding.objects.get().largest_drift_pp) == ("outside", 30)


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has one writer")
def test_look_during_a_long_change_of_settings_gives_up_and_leaves_it_void(account):
    """A run must not wait for the transaction of a user."""
    changed, finish = threading.Event(), threading.Event()

    def change():
        with transaction.atomic():
            halve_spy()
            changed.set()
            finish.wait(WAIT)

    changing = in_thread(change)
    assert changed.wait(WAIT)
    began = timezone.now()
    assert not store_look(account.pk, snapshot())
    assert (timezone.now() - began).total_seconds() < 5
    finish.set()
    changing.join(WAIT)
    assert AccountStanding.objects.get().state == "void"
