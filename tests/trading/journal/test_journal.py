"""Leases, fenced writes, transitions, and the broker's updates."""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count, product

import pytest
from asgiref.sync import async_to_sync
from django.db import IntegrityError, OperationalError, connection, transaction
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from accounts.models import BrokerConnection
from brokers.broker_types import AccountSnapshot, Execution, OrderResult, OrderStatus, OrderType, TimeInForce
from tests.support.makers import policy, queue, simulated_account
from trading.errors import IllegalTransition, LeaseLost
from trading.journal import claims, leases, orders, queueing, runs
from trading.journal.account_status import store_value
from trading.journal.batch_writer import LEASE_CHECK_TIMEOUT_SECONDS, BatchWriter
from trading.journal.executions import store_executions
from trading.journal.order_updates import apply_updates, mark_order
from trading.market_calendar import market_calendar
from trading.models import (
    AccountStanding,
    AccountValue,
    ExecutedSession,
    Fill,
    Installation,
    Order,
    OrderState,
    RebalanceRun,
    RunState,
    SeenExecution,
    TimelineEntry,
)
from trading.models.orders import ABSENT

pytestmark = pytest.mark.django_db
ON_POSTGRES = pytest.mark.skipif(
    os.environ.get("TEST_DATABASE") != "postgres", reason="SQLite has one writer at a time and no row locks"
)


@pytest.fixture
def run(db):
    return queue(simulated_account("U1", {"SPY": "1"}, policy=policy()))


def claim(run):
    lease = leases.claim_lease(run.connection_id, "me")
    claims.claim_runs(lease)
    return lease


def test_claim_lease_of_a_free_slot_increments_the_epoch_and_excludes_others(run):
    first = leases.claim_lease(run.connection_id, "one")
    assert leases.claim_lease(run.connection_id, "two") is None
    leases.release_lease(first)
    second = leases.claim_lease(run.connection_id, "two")
    assert second.epoch == first.epoch + 1


def test_writes_under_an_expired_lease_are_rejected_after_another_claim(run):
    paused = claim(run)
    BrokerConnection.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    with pytest.raises(LeaseLost):
        leases.renew_lease(paused)
    assert leases.claim_lease(run.connection_id, "another")
    with pytest.raises(LeaseLost):
        runs.add_timeline_entry(paused, run.pk, "x", "written too late")
    with pytest.raises(LeaseLost):
        orders.plan_orders(paused, run.pk, [])
    leases.release_lease(paused)
    assert BrokerConnection.objects.get(pk=run.connection_id).lease_owner == "another"


@pytest.mark.parametrize(("seconds_per_answer", "is_confirmed"), [(0.2, True), (2.0, False)])
def test_check_lease_with_a_slow_database_confirms_in_time_or_raises(run, seconds_per_answer, is_confirmed):
    """A confirmation that has expired when it arrives is not used, and the checks do not go on for ever."""
    times = count(0.0, seconds_per_answer)
    check_lease = async_to_sync(BatchWriter(claim(run), clock=lambda: next(times)).check_lease)
    with nullcontext() if is_confirmed else pytest.raises(OperationalError):
        check_lease()
    assert next(times) <= LEASE_CHECK_TIMEOUT_SECONDS + 3 * seconds_per_answer


def test_a_run_resumed_five_times_without_progress_needs_attention(run):
    for attempt in range(1, 8):
        lease = leases.claim_lease(run.connection_id, f"worker {attempt}")
        taken = claims.claim_runs(lease)
        leases.release_lease(lease)
        run.refresh_from_db()
        if not taken:
            break
    assert (run.state, run.error_code, attempt) == ("needs_attention", "too_many_attempts", 7)


@pytest.mark.parametrize(("source", "target"), sorted(product(RunState, RunState)))
def test_move_run_allows_exactly_the_transitions_of_the_table(run, source, target):
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
def test_mark_order_makes_exactly_the_transitions_of_the_table(order, source, target):
    lease, planned = order
    Order.objects.update(state=source, message=ABSENT)
    if target == OrderState.PLANNED:
        return  # an order is planned only when it is created
    after = mark_order(lease, planned.pk, target, "because")
    allowed = source == target or source in orders.TRANSITIONS[target]
    assert after.state == (target if allowed else source)


def test_plan_orders_assigns_short_client_order_ids_of_the_run(order):
    _, planned = order
    run = RebalanceRun.objects.get()
    sender = Installation.objects.get().installation_id
    assert planned.client_order_id == f"rb-{run.run_id}-1-{sender}"
    assert len(sender) == 6 and len(planned.client_order_id) <= 27
    assert planned.client_order_id.isascii() and ":" not in planned.client_order_id


def test_stored_values_and_executions_are_fenced(run):
    lost = claim(run)
    snapshot = AccountSnapshot(account_id="U1", total_value_usd=1000, cash_usd=10, as_of=timezone.now())
    BrokerConnection.objects.update(lease_epoch=lost.epoch + 1)
    with pytest.raises(LeaseLost):
        store_value(lost, run.account_id, snapshot)
    with pytest.raises(LeaseLost):
        store_executions(lost, run.account_id, [execution(1, 2)], market_calendar())
    assert not AccountValue.objects.exists() and not AccountStanding.objects.exists()
    assert not SeenExecution.objects.exists()


def test_end_run_cancels_orders_that_were_never_sent(order):
    lease, planned = order
    runs.end_run(lease, RebalanceRun.objects.get().pk, RunState.FAILED, code="internal_error", message="x")
    row = Order.objects.get(pk=planned.pk)
    assert (row.state, row.submitted_at) == ("cancelled", None)
    assert row.message and row.finished_at


def hold_until_another_transaction_waits(*_):
    """Keep the transaction open until another one waits for its locks."""
    until = time.monotonic() + 20
    while not waiting_locks() and time.monotonic() < until:
        time.sleep(0.01)


def waiting_locks():
    with connection.cursor() as cursor:
        # Of this database: all processes of the tests share a server.
        cursor.execute(
            "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid) "
            "WHERE NOT granted AND datname = current_database()"
        )
        return cursor.fetchone()[0]


@ON_POSTGRES
@pytest.mark.django_db(transaction=True)
def test_a_newer_event_does_not_supersede_a_run_that_is_being_claimed(run, monkeypatch):
    """The claim holds the row lock: the newer event waits for it, and then finds the run running."""
    monkeypatch.setattr(claims, "reached", hold_until_another_transaction_waits)
    lease = leases.claim_lease(run.connection_id, "me")
    with ThreadPoolExecutor(1) as thread:
        claimed = thread.submit(call_and_disconnect, claims.claim_runs, lease)
        wait_for_a_row_lock()
        newer = queue(run.account)
        assert [claimed_run.pk for claimed_run in claimed.result(30)] == [run.pk]
    run.refresh_from_db()
    assert (run.state, newer.state) == ("running", "queued")


@ON_POSTGRES
@pytest.mark.django_db(transaction=True)
def test_claim_runs_skips_a_run_that_is_being_superseded(run, monkeypatch):
    """The newer event holds the row lock: the claim waits for it, and claims nothing that was superseded."""
    supersede_all = queueing.supersede_all

    def supersede_and_hold(*arguments):
        supersede_all(*arguments)
        hold_until_another_transaction_waits()

    monkeypatch.setattr(queueing, "supersede_all", supersede_and_hold)
    lease = leases.claim_lease(run.connection_id, "me")
    with ThreadPoolExecutor(1) as thread:
        newer = thread.submit(call_and_disconnect, queue, run.account)
        wait_for_a_row_lock()
        taken = claims.claim_runs(lease)
        newer = newer.result(30)
    run.refresh_from_db()
    assert run.state == "superseded" and run.pk not in {found.pk for found in taken}
    assert [found.pk for found in [*taken, *claims.claim_runs(lease)]] == [newer.pk]


def wait_for_a_row_lock():
    """Wait until another transaction has changed a run and holds its row lock."""
    locked = (
        "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid) "
        "WHERE relation = 'trading_rebalancerun'::regclass AND mode = 'RowExclusiveLock' "
        "AND pid <> pg_backend_pid() AND datname = current_database()"  # copies of a database have the same object ids
    )
    until = time.monotonic() + 20
    with connection.cursor() as cursor:
        while not cursor.execute(locked).fetchone()[0]:
            assert time.monotonic() < until, "No other transaction holds a row."
            time.sleep(0.01)


def call_and_disconnect(function, *arguments):
    try:
        return function(*arguments)
    finally:
        connection.close()


def test_a_second_executing_run_of_an_account_violates_a_constraint(run):
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


def status_update(filled, status):
    return OrderResult(
        account_id="U1",
        symbol="SPY",
        quantity=Decimal(10),
        filled_quantity=Decimal(filled),
        status=status,
        order_id="7",
        average_price=Decimal(100),
    )


UPDATES = [
    execution(1, 3),
    execution(2, 3),
    execution(3, 4),
    status_update(0, OrderStatus.WORKING),
    status_update(3, OrderStatus.WORKING),
    status_update(6, OrderStatus.WORKING),
    status_update(10, OrderStatus.FILLED),
]


@given(
    updates=st.lists(st.sampled_from(UPDATES), max_size=14).map(lambda some: some + UPDATES).flatmap(st.permutations),
    entered=st.integers(0, 10),
)
@pytest.mark.django_db(transaction=False)
def test_duplicated_and_reordered_updates_lead_to_the_brokers_quantities(django_db_blocker, updates, entered):
    """Also after a user has entered some of the fills manually."""
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
        filled = Decimal(entered)
        if entered:
            manual = execution(0, entered).model_copy(update={"execution_id": "by-hand-1"})
            apply_updates(lease, {now.pk: [manual]})
        for update in updates:
            now = apply_updates(lease, {now.pk: [update]})[now.pk]
            assert now.filled_quantity >= filled
            filled = now.filled_quantity
        assert (now.state, now.filled_quantity, now.commission, now.fills_complete) == ("filled", 10, 3, True)
        transaction.set_rollback(True)


def test_a_corrected_execution_replaces_its_fill(order):
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


def test_executions_replace_a_manual_fill_share_by_share(order):
    lease, planned = order
    orders.mark_submitting(lease, [planned], datetime(2026, 11, 24, tzinfo=UTC).date())
    fields = {"price_usd": Decimal(50), "commission_usd": Decimal(2)}
    manual = execution(0, 10).model_copy(update={"execution_id": "by-hand-1", **fields})
    apply_updates(lease, {planned.pk: [manual]})
    now = apply_updates(lease, {planned.pk: [execution(1, 2), execution(2, 4), execution(2, 4)]})[planned.pk]
    fills = Fill.objects.filter(order_id=planned.pk).order_by("execution_id")
    assert [(fill.execution_id, fill.quantity) for fill in fills] == [("by-hand-1", 4), ("x-1", 2), ("x-2", 4)]
    assert (now.state, now.filled_quantity, now.average_price, now.commission) == ("filled", 10, 80, Decimal("2.8"))
    now = apply_updates(lease, {planned.pk: [execution(2, 5), execution(3, 3)]})[planned.pk]
    assert [(fill.execution_id, fill.quantity) for fill in fills.all()] == [("x-1", 2), ("x-2", 5), ("x-3", 3)]
    assert (now.filled_quantity, now.average_price, now.commission, now.has_manual_fill) == (10, 100, 3, False)
    assert TimelineEntry.objects.filter(code="fill_replaced").count() == 4


def test_correction_and_commission_of_one_fill_in_one_batch_are_both_stored(order):
    lease, planned = order
    orders.mark_submitting(lease, [planned], datetime(2026, 11, 24, tzinfo=UTC).date())
    bare = execution(1, 10).model_copy(update={"commission_usd": None})
    apply_updates(lease, {planned.pk: [bare]})
    corrected = bare.model_copy(update={"price_usd": Decimal(90)})
    complete = corrected.model_copy(update={"commission_usd": Decimal(1)})
    now = apply_updates(lease, {planned.pk: [corrected, complete]})[planned.pk]
    assert (now.filled_quantity, now.average_price, now.commission) == (10, 90, 1)


def test_orders_of_a_run_in_two_sessions_record_both_sessions(order):
    lease, planned = order
    days = [datetime(2026, 11, day, tzinfo=UTC).date() for day in (25, 27)]
    spy = orders.PlannedOrder("SPY", Decimal(1), OrderType.LIMIT, Decimal(100), None, TimeInForce.DAY, "underweight")
    (again,) = orders.plan_orders(lease, Order.objects.get(pk=planned.pk).run_id, [spy])
    for one, day in zip((planned, again), days, strict=True):
        orders.mark_submitting(lease, [one], day)
    assert sorted(ExecutedSession.objects.values_list("session_date", flat=True)) == days


def test_the_first_order_of_a_session_records_the_session(order):
    lease, planned = order
    day = datetime(2026, 11, 25, tzinfo=UTC).date()
    orders.mark_submitting(lease, [planned], day)
    assert ExecutedSession.objects.get().session_date == day
