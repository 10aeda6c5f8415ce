"""Inject faults of hosts, clocks, disks and users into runs of this process."""

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
import time_machine
from asgiref.sync import sync_to_async
from django.db import ProgrammingError, connection
from django.db.backends.signals import connection_created
from django.utils import timezone

from accounts.models import BrokerConnection
from brokers.broker_types import OrderType, TimeInForce
from brokers.exceptions import BrokerUnreachable, ClientIdInUse
from brokers.simulated.client import SimulatedBroker
from brokers.simulated.faults import Kind, set_fault
from brokers.simulated.matching_engine import set_position, take_order
from brokers.simulated.models import SimulatedFault, SimulatedOrder
from tests.support.makers import QUICK_TIMINGS, carry_out, held, policy, queue, work_run
from trading.engine.open_order_recovery import recover_run_orders
from trading.engine.slot_worker import work_slot
from trading.inbox.receive import receive_event
from trading.journal import claims, leases
from trading.market_calendar import AlwaysOpenCalendar
from trading.models import EventSource, Notification, Order, RebalanceRun
from trading.orders.execution import OrderPhase
from trading.schedule import sweeper

pytestmark = pytest.mark.django_db(transaction=True)
on_sqlite = pytest.mark.skipif(os.environ.get("TEST_DATABASE") == "postgres", reason="SQLite can be given a small disk")
on_postgres = pytest.mark.skipif(
    os.environ.get("TEST_DATABASE") != "postgres", reason="SQLite's clock is the host's own: there is none to differ"
)


@on_sqlite
def test_full_disk_stops_the_run_before_an_order_is_sent_and_it_resumes_later(make_account):
    run = queue(make_account())
    connection.cursor().execute("VACUUM")  # free pages of other tests would count as space
    pages = connection.cursor().execute("PRAGMA page_count").fetchone()[0]

    def leave_no_room(connection, **_):
        connection.cursor().execute(f"PRAGMA max_page_count = {pages}")

    connection_created.connect(leave_no_room)
    try:
        work_slot(run.connection_id)
    finally:
        connection_created.disconnect(leave_no_room)
    run.refresh_from_db()
    assert run.state in {"queued", "running"}
    assert not SimulatedOrder.objects.exists() and not Order.objects.filter(submitted_at__isnull=False).exists()
    BrokerConnection.objects.update(lease_until=None)  # it expired: a full disk also prevents its release
    assert work_run(run).state == "completed", run.error_message


def test_run_during_a_migration_is_resumed_and_not_failed(make_account, monkeypatch):
    """A worker of the version before finds other tables than its models."""
    run = queue(make_account())

    def missing_column(*_, **__):
        raise ProgrammingError("column does not exist")

    with monkeypatch.context() as migrating:
        migrating.setattr("trading.engine.run_supervisor.make_run_context", missing_column)
        assert work_run(run).state == "running"
    assert work_run(run).state == "completed", run.error_message


def test_host_with_a_wrong_clock_cannot_claim_a_live_lease(make_account):
    run = queue(make_account())
    owner = leases.claim_lease(run.connection_id, "a host whose clock is right")
    for hours in (-3, 3):
        with time_machine.travel(timezone.now() + timedelta(hours=hours)):
            assert leases.claim_lease(run.connection_id, "a host whose clock is wrong") is None
    leases.renew_lease(owner)


@on_postgres
def test_clock_difference_notifies_once(make_account):
    make_account()
    assert sweeper.check_clock() < 2
    with time_machine.travel(timezone.now() + timedelta(seconds=30)):
        assert sweeper.check_clock() > 25
        sweeper.check_clock()
    assert Notification.objects.get().title.startswith("Clock of ")


@on_postgres
def test_order_age_ignores_the_clock_of_the_host(make_account):
    from trading.journal.leases import seconds_since

    run = carry_out(make_account())
    with time_machine.travel(timezone.now() + timedelta(hours=1)):
        assert seconds_since(run.orders.filter(sequence=1), "submitted_at") < 60


def test_manual_trade_during_a_run_needs_attention(make_account, monkeypatch):
    from trading.orders import execution

    original = execution.OrderPhase.execute

    async def then_trade_manually(self, orders):
        from asgiref.sync import sync_to_async

        done = await original(self, orders)
        await sync_to_async(set_position)("U1", "GLD", Decimal(3))
        return done

    monkeypatch.setattr(execution.OrderPhase, "execute", then_trade_manually)
    run = carry_out(make_account(), timings=QUICK_TIMINGS)
    assert (run.state, run.error_code) == ("needs_attention", "positions_disagree")


@pytest.mark.timeout(600)  # a thousand in `make faults`
def test_burst_of_events_leaves_one_running_and_the_newest_queued(make_account):
    account = make_account()
    events = 1000 if os.environ.get("FAULTS") == "full" else 60
    began = datetime(2026, 11, 24, 15, tzinfo=UTC)
    account.strategy.late_after_seconds = 10**9
    account.strategy.save()
    for number in range(events):
        receive_event(
            source=EventSource.ABLY,
            channel=account.strategy.name,
            message_id=f"burst-{number}",
            payload={"exec": "rebalance"},
            published_at=began + timedelta(milliseconds=number),
        )
        if number == events // 2:
            lease = leases.claim_lease(account.connection_id, "a worker in the middle of it")
            (running,) = claims.claim_runs(lease)
    assert list(RebalanceRun.objects.filter(state="running")) == [running]
    waiting = RebalanceRun.objects.get(state="queued")
    assert waiting.event.message_id == f"burst-{events - 1}"
    assert RebalanceRun.objects.filter(state="superseded").count() == events - 2


def test_run_whose_client_id_is_in_use_waits_and_then_needs_attention(make_account, monkeypatch):
    async def client_id_in_use(_):
        raise ClientIdInUse("Client id 101 is in use.")

    monkeypatch.setattr(SimulatedBroker, "connect", client_id_in_use)
    run = carry_out(make_account())
    for _ in range(8):  # more wake-ups than a run has attempts: waiting is not failing
        assert work_run(run).state == "running"
    BrokerConnection.objects.update(in_use_since=timezone.now() - timedelta(minutes=6))
    assert (work_run(run).state, run.error_code) == ("needs_attention", "client_id_in_use")


def test_run_that_has_sold_waits_for_an_unreachable_broker_and_then_buys(make_account, monkeypatch):
    """It is not failed half-way: it waits beyond the usual number of attempts."""
    account = make_account(positions={"VTI": "100"}, cash="0")
    set_fault(Kind.DISCONNECT_BEFORE, symbol="SPY")
    connect, away = SimulatedBroker.connect, []

    async def not_again(self):
        if away:
            raise BrokerUnreachable("Nothing answers.")
        away.append(True)
        await connect(self)

    monkeypatch.setattr(SimulatedBroker, "connect", not_again)
    run = carry_out(account, timings=QUICK_TIMINGS)
    for _ in range(7):
        assert work_run(run, QUICK_TIMINGS).state == "running", "it resumes when the broker is back"
    monkeypatch.setattr(SimulatedBroker, "connect", connect)
    assert work_run(run).state == "completed", run.error_message
    assert set(held("U1")) == {"SPY", "IEF"}


def test_open_order_of_an_earlier_run_is_looked_up_before_the_next(make_account):
    account = make_account(policy=policy(order_timeout_seconds=5))
    set_fault(Kind.NO_FILL, symbol="SPY")
    set_fault(Kind.CANCEL_IGNORED, symbol="SPY")
    first = carry_out(account, timings=QUICK_TIMINGS)
    assert first.error_code == "orders_unknown"
    SimulatedOrder.objects.filter(symbol="SPY").update(status="CANCELLED")
    second = carry_out(account)
    assert second.state == "completed", second.error_message
    first.refresh_from_db()
    assert first.state == "needs_attention", "only a user closes it"
    assert first.orders.get(symbol="SPY").state == "cancelled"


def test_open_orders_of_ended_runs_are_resolved_by_the_task(make_account):
    from trading.tasks import recover_open_orders

    set_fault(Kind.NO_FILL, symbol="SPY")
    set_fault(Kind.CANCEL_IGNORED, symbol="SPY")
    run = carry_out(make_account(policy=policy(order_timeout_seconds=5)), timings=QUICK_TIMINGS)
    assert recover_open_orders() == 1
    SimulatedOrder.objects.filter(symbol="SPY").update(status="CANCELLED")
    assert recover_open_orders() == 0
    assert run.orders.get(symbol="SPY").state == "cancelled"


def test_worker_that_dies_after_each_send_makes_no_progress(make_account):
    """An order that is sent in every attempt does not reset the count of attempts."""
    from trading.journal import orders

    run = queue(make_account())
    for attempt in range(1, 8):
        lease = leases.claim_lease(run.connection_id, f"worker {attempt}")
        if not claims.claim_runs(lease):
            break
        (planned,) = orders.plan_orders(lease, run.pk, [_one_share()])
        orders.mark_submitting(lease, [planned], timezone.localdate())
        leases.release_lease(lease)
    run.refresh_from_db()
    assert (run.state, run.error_code, attempt) == ("needs_attention", "too_many_attempts", 7)


def _one_share():
    from trading.journal.orders import PlannedOrder

    return PlannedOrder("SPY", Decimal(1), OrderType.LIMIT, Decimal(100), None, TimeInForce.DAY, "underweight")


def test_failed_lookups_prove_nothing_and_are_retried(make_account, monkeypatch):
    set_fault(Kind.SUPPRESSED_UPDATE, symbol="SPY", times=99)  # no update arrives: the order is looked up
    set_fault(Kind.SLOW, symbol="SPY", number=0.3)
    execute = OrderPhase.execute

    async def with_unreadable_records(phase, orders):
        await sync_to_async(set_fault)(Kind.UNREADABLE, times=2)
        return await execute(phase, orders)

    monkeypatch.setattr(OrderPhase, "execute", with_unreadable_records)
    run = carry_out(make_account(), timings=QUICK_TIMINGS)
    assert (run.state, run.orders.get(symbol="SPY").state) == ("completed", "filled"), run.error_message
    assert not SimulatedFault.objects.filter(kind=Kind.UNREADABLE, remaining__gt=0).exists()


def test_records_that_cannot_be_read_before_the_first_order_fail_the_run(make_account):
    set_fault(Kind.UNREADABLE)
    run = carry_out(make_account())
    assert (run.state, run.orders.count()) == ("failed", 0)


def test_open_order_that_cannot_be_cancelled_fails_the_run_at_its_deadline(make_account):
    account = make_account(policy=policy(request_timeout_seconds=Decimal("0.5")))
    set_fault(Kind.CANCEL_IGNORED)
    take_order("U1", "GLD", Decimal(1), OrderType.LIMIT, Decimal(1), "by-hand", TimeInForce.GTC)
    run = carry_out(account)
    assert (run.state, run.error_code) == ("failed", "open_orders_remain")
    assert "GLD" in run.error_message and not Order.objects.filter(submitted_at__isnull=False).exists()


def recover_in_a_thread(run):
    try:
        return recover_run_orders(run)
    finally:
        connection.close()


def test_recovery_longer_than_the_lease_renews_it(make_account, settings):
    run = carry_out(make_account())
    order = run.orders.get(symbol="SPY")
    order.fills.all().delete()
    Order.objects.filter(pk=order.pk).update(state="unknown", filled_quantity=0, submitted_at=timezone.now())
    SimulatedOrder.objects.filter(symbol="SPY").delete()
    settings.LEASE_TTL_SECONDS, settings.ORDER_SETTLE_SECONDS = 0.8, 1.0
    slot, ends = BrokerConnection.objects.filter(pk=run.connection_id), set()
    with ThreadPoolExecutor(1) as executor:
        recovery = executor.submit(recover_in_a_thread, RebalanceRun.objects.get(pk=run.pk))
        while not recovery.done():
            ends |= {until for until in slot.values_list("lease_until", flat=True) if until}
            time.sleep(0.05)  # the database sends no notification of a changed row
    # The fill has changed the position, so that the missing order is not proven lost.
    assert [found.state for found in recovery.result()] == ["unknown"]
    assert len(ends) > 2, "the lease is renewed while the recovery waits for longer than its lifetime"


def test_lease_is_renewed_while_the_calendar_is_read(make_account, monkeypatch, settings):
    settings.LEASE_TTL_SECONDS = 2
    renewed, renew, in_time = threading.Event(), leases.renew_lease, []

    def renew_and_signal(lease):
        renew(lease)
        renewed.set()

    class Slow(AlwaysOpenCalendar):
        def session_of(self, instant):
            if not in_time:
                in_time.append(renewed.wait(10))
            return super().session_of(instant)

    monkeypatch.setattr(leases, "renew_lease", renew_and_signal)
    monkeypatch.setattr("trading.engine.slot_worker.market_calendar", Slow)
    carry_out(make_account())
    assert in_time == [True], "the calendar was read in a thread that blocks the renewal"
