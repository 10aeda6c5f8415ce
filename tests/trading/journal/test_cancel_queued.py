"""A user cancels a queued run while a worker claims it: one of them wins, on both databases."""

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from threading import Barrier

import pytest
from django.utils import timezone

from brokers.broker_types import OrderType, TimeInForce
from tests.support.makers import policy, queue, simulated_account
from tests.trading.journal.test_journal import (
    ON_POSTGRES,
    call_and_disconnect,
    hold_until_another_transaction_waits,
    wait_for_a_row_lock,
)
from trading.journal import claims, leases, orders, runs
from trading.models import Order, RebalanceRun

pytestmark = pytest.mark.django_db


@pytest.fixture
def run(db):
    return queue(simulated_account("U1", {"SPY": "1"}, policy=policy()))


@ON_POSTGRES
@pytest.mark.django_db(transaction=True)
def test_cancel_queued_leaves_a_run_that_is_being_claimed_to_its_worker(run, monkeypatch):
    """The claim holds the row lock: the cancellation waits for it, and then finds the run running."""
    monkeypatch.setattr(claims, "reached", hold_until_another_transaction_waits)
    lease = leases.claim_lease(run.connection_id, "me")
    with ThreadPoolExecutor(1) as thread:
        claimed = thread.submit(call_and_disconnect, claims.claim_runs, lease)
        wait_for_a_row_lock()
        assert runs.cancel_queued(run.pk, "Tess") is False
        assert [claimed_run.pk for claimed_run in claimed.result(30)] == [run.pk]
    run.refresh_from_db()
    assert (run.state, run.error_code) == ("running", "")


@ON_POSTGRES
@pytest.mark.django_db(transaction=True)
def test_claim_runs_skips_a_run_that_is_being_cancelled(run, monkeypatch):
    """The cancellation holds the row lock: the claim waits for it, and finds nothing."""
    monkeypatch.setattr(runs, "notify_run_ended", hold_until_another_transaction_waits)
    lease = leases.claim_lease(run.connection_id, "me")
    with ThreadPoolExecutor(1) as thread:
        cancelled = thread.submit(call_and_disconnect, runs.cancel_queued, run.pk, "Tess")
        wait_for_a_row_lock()
        assert claims.claim_runs(lease) == []
        assert cancelled.result(30) is True
    run.refresh_from_db()
    assert (run.state, run.error_code) == ("stopped", "run_stopped")


@pytest.mark.django_db(transaction=True)
def test_cancel_queued_and_a_claim_at_once_have_one_winner(run):
    """On either database, the first of the two transactions decides."""
    lease, start = leases.claim_lease(run.connection_id, "me"), Barrier(2, timeout=20)

    def together(function, *arguments):
        start.wait()
        return call_and_disconnect(function, *arguments)

    for _ in range(10):
        RebalanceRun.objects.update(state="queued", epoch=0, error_code="", finished_at=None)
        with ThreadPoolExecutor(2) as threads:
            claimed = threads.submit(together, claims.claim_runs, lease)
            cancelled = threads.submit(together, runs.cancel_queued, run.pk, "Tess")
            taken, is_cancelled = claimed.result(30), cancelled.result(30)
        run.refresh_from_db()
        assert (len(taken), is_cancelled, run.state) in [(1, False, "running"), (0, True, "stopped")]


def test_cancel_queued_of_a_run_that_sent_orders_before_is_left_to_the_worker(run):
    """It was deferred after its first order: a worker must resolve that order."""
    lease = leases.claim_lease(run.connection_id, "me")
    claims.claim_runs(lease)
    planned = orders.PlannedOrder(
        "SPY", Decimal(10), OrderType.LIMIT, Decimal(100), Decimal(99), TimeInForce.DAY, "underweight"
    )
    orders.plan_orders(lease, run.pk, [planned])
    Order.objects.update(submitted_at=timezone.now())
    RebalanceRun.objects.update(state="queued")
    assert runs.cancel_queued(run.pk, "Tess") is False
    assert runs.request_stop(run.pk, "Tess") is True
    run.refresh_from_db()
    assert (run.state, run.stop_requested_at is not None) == ("queued", True)
