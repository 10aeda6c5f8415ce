"""Leases, fences and transitions: who may write, and what may follow what."""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count, product
from types import SimpleNamespace

import pytest
from asgiref.sync import async_to_sync
from django.db import IntegrityError, OperationalError, connection, transaction
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from accounts.models import BrokerConnection
from brokers.broker_types import Execution, OrderResult, OrderStatus, OrderType, TimeInForce
from tests.support.makers import policy, queue, simulated_account
from trading.errors import IllegalTransition, LeaseLost
from trading.journal import claims, leases, orders, queueing, runs
from trading.journal.account_status import store_value
from trading.journal.batch_writer import PROOF_SECONDS, BatchWriter
from trading.journal.executions import store_executions
from trading.journal.order_updates import apply_updates, mark_order
from trading.models import (
    AccountStanding,
    AccountValue,
    Order,
    OrderState,
    RebalanceRun,
    RunState,
    SeenExecution,
)

pytestmark = pytest.mark.django_db
ON_POSTGRES = pytest.mark.skipif(
    os.environ.get("TEST_DATABASE") != "postgres", reason="SQLite has one writer at a time, and no locks of rows"
)


@pytest.fixture
def run(db):
    return queue(simulated_account("U1", {"SPY": "1"}, policy=policy()))


def claim(run):
    lease = leases.claim_lease(run.connection_id, "me")
    claims.claim_runs(lease)
    return lease


def test_one_lease_at_a_time_and_a_new_epoch_for_each(run):
    first = leases.claim_lease(run.connection_id, "one")
    assert leases.claim_lease(run.connection_id, "two") is None
    leases.release_lease(first)
    second = leases.claim_lease(run.connection_id, "two")
    assert second.epoch == first.epoch + 1


def test_a_lease_that_ran_out_is_taken_and_its_owner_is_fenced_out(run):
    paused = claim(run)
    BrokerConnection.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    with pytest.raises(LeaseLost):
        leases.renew_lease(paused)
    assert leases.claim_lease(run.connection_id, "another")
    with pytest.raises(LeaseLost):
        runs.add_timeline_entry(paused, run.pk, "x", "from the dead")
    with pytest.raises(LeaseLost):
        orders.plan_orders(paused, run.pk, [])
    leases.release_lease(paused)
    assert BrokerConnection.objects.get(pk=run.connection_id).lease_owner == "another"


@pytest.mark.parametrize(("seconds_an_answer", "is_proven"), [(0.2, True), (2.0, False)])
def test_a_database_whose_word_is_old_when_it_comes_ends_the_work_in_place_of_holding_it_up(
    run, monkeypatch, seconds_an_answer, is_proven
):
    looks = count(0.0, seconds_an_answer)
    monkeypatch.setattr("trading.journal.batch_writer.time", SimpleNamespace(clock_gettime=lambda _: next(looks)))
    check_lease = async_to_sync(BatchWriter(claim(run)).check_lease)
    with nullcontext() if is_proven else pytest.raises(OperationalError, match="whose the slot is"):
        check_lease()
    assert next(looks) <= PROOF_SECONDS + 3 * seconds_an_answer


def test_a_run_that_a_dead_owner_left_is_taken_over_and_given_up_after_five_idle_leases(run):
    for attempt in range(1, 8):
        lease = leases.claim_lease(run.connection_id, f"worker {attempt}")
        taken = claims.claim_runs(lease)
        leases.release_lease(lease)
        run.refresh_from_db()
        if not taken:
            break
    assert (run.state, run.error_code, attempt) == ("needs_attention", "too_many_attempts", 7)


RUN_MOVES = sorted(product(RunState, RunState))


@pytest.mark.parametrize(("source", "target"), RUN_MOVES)
def test_every_move_of_a_run_is_allowed_or_refused_as_the_table_says(run, source, target):
    RebalanceRun.objects.update(state=source)
    if source in runs.TRANSITIONS[target]:
        runs.move_run(run.pk, target)
        assert RebalanceRun.objects.get().state == target
    else:
        with pytest.raises(IllegalTransition):
            runs.move_run(run.pk, target)
        assert RebalanceRun.objects.get().state == source


@pytest.fixture
def order(run):
    lease = claim(run)
    (planned,) = orders.plan_orders(
        lease,
        run.pk,
        [
            orders.PlannedOrder(
                "SPY", Decimal(10), OrderType.LIMIT, Decimal(100), Decimal(99), TimeInForce.DAY, "underweight"
            )
        ],
    )
    return lease, planned


@pytest.mark.parametrize(("source", "target"), sorted(product(OrderState, OrderState)))
def test_every_move_of_an_order_is_made_or_left_as_the_table_says(order, source, target):
    lease, planned = order
    Order.objects.update(state=source)
    if target == OrderState.PLANNED:
        return  # an order is planned once, when it is made
    after = mark_order(lease, planned.pk, target, "because")
    allowed = source == target or source in orders.TRANSITIONS[target]
    assert after.state == (target if allowed else source)


def test_client_order_ids_are_of_the_run_and_short(order):
    _, planned = order
    run = RebalanceRun.objects.get()
    assert planned.client_order_id == f"rb-{run.run_id}-1"
    assert (
        len(planned.client_order_id) <= 20 and planned.client_order_id.isascii() and ":" not in planned.client_order_id
    )


def test_what_is_kept_of_an_account_is_fenced_too(run):
    from trading.market_calendar import market_calendar

    lost = claim(run)
    BrokerConnection.objects.update(lease_epoch=lost.epoch + 1)
    with pytest.raises(LeaseLost):
        store_value(lost, run.account_id, Decimal(1000), Decimal(10))
    with pytest.raises(LeaseLost):
        store_executions(lost, run.account_id, [execution(1, 2)], market_calendar())
    assert not AccountValue.objects.exists() and not AccountStanding.objects.exists()
    assert not SeenExecution.objects.exists()


def test_rows_that_were_never_sent_do_not_wait_for_ever_when_their_run_ends(order):
    lease, planned = order
    runs.end_run(lease, RebalanceRun.objects.get().pk, RunState.FAILED, code="internal_error", message="x")
    row = Order.objects.get(pk=planned.pk)
    assert (row.state, row.message) == ("cancelled", "Never sent: the run has ended.")
    assert row.finished_at is not None


def until_somebody_waits(*_):
    """Holds a transaction open until somebody waits for its locks, which tells nobody but who asks."""
    until = time.monotonic() + 20
    while not _waiters() and time.monotonic() < until:
        time.sleep(0.01)


def _waiters():
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
        return cursor.fetchone()[0]


@ON_POSTGRES
@pytest.mark.django_db(transaction=True)
def test_a_run_that_is_just_taken_up_is_not_superseded_by_a_newer_event(run, monkeypatch):
    """The claim holds the row: the newer event waits for it, and then finds the run running."""
    monkeypatch.setattr(claims, "reached", until_somebody_waits)
    lease = leases.claim_lease(run.connection_id, "me")
    with ThreadPoolExecutor(1) as beside:
        claimed = beside.submit(in_a_thread, claims.claim_runs, lease)
        until_a_row_is_locked()
        newer = queue(run.account)
        assert [taken.pk for taken in claimed.result(30)] == [run.pk]
    run.refresh_from_db()
    assert (run.state, newer.state) == ("running", "queued")


@ON_POSTGRES
@pytest.mark.django_db(transaction=True)
def test_a_run_that_is_just_superseded_is_not_taken_up(run, monkeypatch):
    """The newer event holds the row: the claim waits for it, and takes nothing that was superseded."""
    supersede_all = queueing.supersede_all

    def then_hold(*arguments):
        supersede_all(*arguments)
        until_somebody_waits()

    monkeypatch.setattr(queueing, "supersede_all", then_hold)
    lease = leases.claim_lease(run.connection_id, "me")
    with ThreadPoolExecutor(1) as beside:
        newer = beside.submit(in_a_thread, queue, run.account)
        until_a_row_is_locked()
        taken = claims.claim_runs(lease)
        newer = newer.result(30)
    run.refresh_from_db()
    assert run.state == "superseded" and run.pk not in {found.pk for found in taken}
    assert [found.pk for found in [*taken, *claims.claim_runs(lease)]] == [newer.pk]


def until_a_row_is_locked():
    """Waits until another transaction has changed a run and holds its row."""
    locked = (
        "SELECT count(*) FROM pg_locks WHERE relation = 'trading_rebalancerun'::regclass "
        "AND mode = 'RowExclusiveLock' AND pid <> pg_backend_pid()"
    )
    until = time.monotonic() + 20
    with connection.cursor() as cursor:
        while not cursor.execute(locked).fetchone()[0]:
            assert time.monotonic() < until, "No other transaction holds a row."
            time.sleep(0.01)


def in_a_thread(function, *arguments):
    try:
        return function(*arguments)
    finally:
        connection.close()


def test_the_database_forbids_a_second_executing_run_of_an_account(run):
    claim(run)
    with pytest.raises(IntegrityError), transaction.atomic():
        RebalanceRun.objects.create(
            account=run.account, event=run.event, connection=run.connection, mode="execute", state="running"
        )


def execution(number, shares):
    return Execution(
        execution_id=f"x-{number}",
        account_id="U1",
        symbol="SPY",
        quantity=Decimal(shares),
        price_usd=Decimal(100),
        commission_usd=Decimal(1),
        executed_at=datetime(2026, 11, 24, 15, tzinfo=UTC),
        client_order_id="c",
    )


def status(filled, word):
    return OrderResult(
        account_id="U1",
        symbol="SPY",
        quantity=Decimal(10),
        filled_quantity=Decimal(filled),
        status=word,
        order_id="7",
        average_price=Decimal(100),
    )


WORDS = [
    execution(1, 3),
    execution(2, 3),
    execution(3, 4),
    status(0, OrderStatus.WORKING),
    status(3, OrderStatus.WORKING),
    status(6, OrderStatus.WORKING),
    status(10, OrderStatus.FILLED),
]


@given(words=st.lists(st.sampled_from(WORDS), max_size=14).map(lambda some: some + WORDS).flatmap(st.permutations))
@pytest.mark.django_db(transaction=False)
def test_duplicated_reordered_and_late_words_come_to_the_brokers_quantities(django_db_blocker, words):
    with transaction.atomic():
        run = queue(simulated_account("U9", {"SPY": "1"}, policy=policy()))
        lease = claim(run)
        (planned,) = orders.plan_orders(
            lease,
            run.pk,
            [
                orders.PlannedOrder(
                    "SPY", Decimal(10), OrderType.LIMIT, Decimal(100), None, TimeInForce.DAY, "underweight"
                )
            ],
        )
        (now,) = orders.mark_submitting(lease, [planned], datetime(2026, 11, 24, tzinfo=UTC).date())
        filled = Decimal(0)
        for word in words:
            now = apply_updates(lease, {now.pk: [word]})[now.pk]
            assert now.filled_quantity >= filled
            filled = now.filled_quantity
        assert (now.state, now.filled_quantity, now.commission, now.fills_complete) == ("filled", 10, 3, True)
        transaction.set_rollback(True)


def test_a_correction_of_the_broker_takes_the_place_of_the_fill(order):
    lease, planned = order
    orders.mark_submitting(lease, [planned], datetime(2026, 11, 24, tzinfo=UTC).date())
    first = Execution(
        execution_id="x1",
        account_id="U1",
        symbol="SPY",
        quantity=Decimal(10),
        price_usd=Decimal(100),
        commission_usd=Decimal(1),
        executed_at=datetime.now(UTC),
        order_id="1",
        client_order_id=planned.client_order_id,
    )
    apply_updates(lease, {planned.pk: [first]})[planned.pk]
    corrected = first.model_copy(update={"quantity": Decimal(9), "price_usd": Decimal(90)})
    now = apply_updates(lease, {planned.pk: [corrected]})[planned.pk]
    assert (now.filled_quantity, now.average_price, now.commission) == (9, 90, 1)


def test_a_run_that_goes_on_in_a_later_session_counts_there_too(order):
    from trading.models import ExecutedSession

    lease, planned = order
    days = [datetime(2026, 11, day, tzinfo=UTC).date() for day in (25, 27)]
    spy = orders.PlannedOrder("SPY", Decimal(1), OrderType.LIMIT, Decimal(100), None, TimeInForce.DAY, "underweight")
    (again,) = orders.plan_orders(lease, Order.objects.get(pk=planned.pk).run_id, [spy])
    for one, day in zip((planned, again), days, strict=True):
        orders.mark_submitting(lease, [one], day)
    assert sorted(ExecutedSession.objects.values_list("session_date", flat=True)) == days


def test_the_session_of_execution_is_written_with_the_first_order_only(order):
    from trading.models import ExecutedSession

    lease, planned = order
    day = datetime(2026, 11, 25, tzinfo=UTC).date()
    orders.mark_submitting(lease, [planned], day)
    assert ExecutedSession.objects.get().session_date == day
