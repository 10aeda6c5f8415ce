"""Orders that the rows do not have, and empty answers that prove nothing: over the gateway on loopback."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.utils import timezone

from accounts.models import BrokerConnection
from brokers.ibkr.client import InteractiveBrokers
from brokers.ibkr.limits import Limits
from tests.support import makers
from tests.support.ibkr_accounts import assert_runs_are_resolved, gateway_account
from tests.support.ibkr_gateway import AccountRecords, GatewayOrder, GatewayThread, Kind
from trading import tasks
from trading.common.timings import Timings
from trading.models import (
    ExecutedSession,
    Fill,
    Installation,
    Notification,
    Order,
    RebalanceRun,
    UnrecordedOrder,
)
from trading.models.orders import ABSENT
from trading.models.run_documents import ExecCommand

pytestmark = pytest.mark.django_db(transaction=True)

DU = "DU1000001"
TARGETS = {"SPY": "0.5", "IEF": "0.3", "GLD": "0.2"}
TIMINGS = Timings(reconnect_delay_seconds=0.05, cancel_seconds=1.0, positions_seconds=2.0, order_silence_seconds=0.3)
carry_out = partial(makers.carry_out, timings=TIMINGS)
FOREIGN = "rb-abcdefghjk-3-zzzzzz"


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch, transactional_db):
    from accounts.models import RebalancePolicy

    RebalancePolicy.objects.get_or_create(is_default=True, defaults={"name": "default"})
    limits = Limits(values_lag_seconds=0.1, values_retry_seconds=0.05, connect_retry_seconds=0.1)
    monkeypatch.setattr(InteractiveBrokers, "limits", limits)


@pytest.fixture
def patience(monkeypatch):
    """Set for how long empty answers of a new connection prove nothing."""

    def set_seconds(seconds):
        short = InteractiveBrokers.capabilities.model_copy(update={"empty_answer_seconds": seconds})
        monkeypatch.setattr(InteractiveBrokers, "capabilities", short)

    return set_seconds


@pytest.fixture
def book():
    book = AccountRecords()
    for symbol in ("SPY", "IEF", "GLD", "VTI"):
        book.add_instrument(symbol)
    book.add_account(DU, cash="1000", positions={"VTI": "400", "SPY": "100"})
    return book


@pytest.fixture
def gateway(book, settings):
    with GatewayThread(book) as gateway:
        settings.IB_PORT = gateway.port
        yield gateway


@pytest.fixture
def account(gateway):
    return gateway_account(DU, TARGETS)


def lose_sight_of_a_working_sell(gateway, empty_seconds):
    """The first sell is accepted and stays open, the socket drops, and the next connection has empty lists."""
    gateway.fault(Kind.NO_FILL, symbol="VTI")
    gateway.fault(Kind.DROP_AFTER, symbol="VTI")
    gateway.gateway.empty_seconds = empty_seconds


def sells(book):
    return [order for order in book.orders if order.instrument.symbol == "VTI"]


def foreign_order(book, gateway, *, ref=FOREIGN, filled=0, total=50, status="Submitted"):
    """An order of another installation for the same account."""
    order = GatewayOrder(
        client_id=77,
        order_id=5,
        perm_id=0,
        account_id=DU,
        instrument=book.stock("VTI"),
        action="SELL",
        total=Decimal(total),
        order_type="LMT",
        limit=Decimal("99.99"),
        tif="DAY",
        ref=ref,
        status=status,
    )
    gateway.do(book.accept, order)
    if filled:
        gateway.do(book.fill, order, Decimal(filled), Decimal("99.99"))
    return order


# ---- empty answers


def test_open_order_is_not_marked_lost_while_a_new_connection_answers_with_empty_lists(
    account, book, gateway, patience
):
    patience(30)
    lose_sight_of_a_working_sell(gateway, empty_seconds=1.2)
    run = carry_out(account)
    assert (run.state, run.error_message) == ("completed", "")
    first, second = sells(book)
    assert (first.status, first.filled, second.filled) == ("Cancelled", 0, 400)
    assert not Order.objects.filter(state="lost").exists()
    assert_runs_are_resolved(book)


def test_order_that_never_arrived_is_lost_once_empty_lists_have_lasted_long_enough(account, book, gateway, patience):
    patience(0.8)
    gateway.fault(Kind.DROP_BEFORE, symbol="VTI")
    run = carry_out(account)
    assert (run.state, run.error_message) == ("completed", "")
    (lost,) = Order.objects.filter(state="lost")
    assert (lost.finished_at - lost.submitted_at).total_seconds() >= 0.8
    assert len(sells(book)) == 1
    assert_runs_are_resolved(book)


def test_order_that_lives_after_an_error_of_an_unlisted_code_is_not_rejected_while_lists_are_empty(
    account, book, gateway, patience
):
    patience(30)
    gateway.gateway.empty_seconds = 3600
    gateway.fault(Kind.NO_FILL, symbol="VTI")
    gateway.fault(Kind.SILENT, symbol="VTI")
    gateway.fault(Kind.WARN_SILENTLY, symbol="VTI", code=9999)

    async def show_later():
        await asyncio.sleep(4)
        gateway.gateway.show_records()

    gateway.when_accepted("VTI", show_later)
    run = carry_out(account)
    assert (run.state, run.error_message) == ("completed", "")
    order = Order.objects.filter(symbol="VTI").first()
    (alive,) = sells(book)
    assert (order.state, alive.ref, alive.is_open) == ("cancelled", order.client_order_id, False)
    assert not Order.objects.filter(state__in=("rejected", "lost")).exists()
    assert_runs_are_resolved(book)


def test_order_refused_by_an_unlisted_code_is_rejected_once_empty_lists_count(account, book, gateway, patience):
    patience(2)
    gateway.gateway.empty_seconds = 3600
    gateway.fault(Kind.ORDER_ERROR, symbol="VTI", code=9999, message="The message of the broker.")
    carry_out(account)
    order = Order.objects.get(symbol="VTI")
    assert (order.state, order.message) == ("rejected", f"{ABSENT}IBKR 9999: The message of the broker.")
    assert (order.finished_at - order.submitted_at).total_seconds() >= 2
    assert sells(book) == []
    assert_runs_are_resolved(book)


def test_connection_that_has_shown_an_order_of_today_is_not_waited_for(account, book, gateway, patience):
    patience(600)
    assert carry_out(account).state == "completed"
    book.accounts[DU].positions[book.stock("VTI").con_id] = Decimal(100)
    gateway.fault(Kind.DROP_BEFORE, symbol="VTI")
    run = carry_out(account)
    assert (run.state, run.error_message) == ("completed", "")
    assert Order.objects.filter(state="lost").count() == 1
    assert_runs_are_resolved(book)


def test_twin_of_an_order_that_was_marked_lost_makes_the_run_need_attention(account, book, gateway, patience):
    patience(0.4)
    lose_sight_of_a_working_sell(gateway, empty_seconds=3600)

    async def show():
        gateway.gateway.show_records()

    gateway.when_accepted("IEF", show)
    run = carry_out(account)
    assert (run.state, run.error_code) == ("needs_attention", "lost_order_found")
    twin, _ = sells(book)
    assert twin.is_open
    assert Order.objects.get(client_order_id=twin.ref).state == "working"
    assert Notification.objects.filter(title=f"Order marked as lost was found: {DU}").count() == 1


def test_fill_of_an_order_that_was_marked_lost_is_found_later_on_the_day(account, book, gateway, patience):
    patience(0.4)
    lose_sight_of_a_working_sell(gateway, empty_seconds=3600)
    assert carry_out(account).state == "completed"
    twin, _ = sells(book)
    row = Order.objects.get(client_order_id=twin.ref)
    assert row.state == "lost"
    gateway.gateway.empty_seconds = 0
    twin.held = False
    gateway.do(gateway.gateway.order_handler.fill, twin)
    tasks.recover_open_orders()
    tasks.recover_open_orders()
    row.refresh_from_db()
    assert (row.state, row.filled_quantity, row.fills.count()) == ("filled", -400, 1)
    assert Notification.objects.filter(title=f"Order marked as lost was found: {DU}").count() == 1
    assert row.run.timeline.filter(code="lost_order_found").count() == 1


def test_order_rejected_because_it_was_absent_is_found_later_on_the_day(account, book, gateway, patience):
    patience(0.4)
    gateway.fault(Kind.ORDER_ERROR, symbol="VTI", code=9999, message="The message of the broker.")
    carry_out(account)
    row = Order.objects.get(symbol="VTI")
    assert (row.state, row.message) == ("rejected", f"{ABSENT}IBKR 9999: The message of the broker.")
    foreign_order(book, gateway, ref=row.client_order_id, total=400)
    tasks.recover_open_orders()
    tasks.recover_open_orders()
    row.refresh_from_db()
    assert (row.state, row.finished_at) == ("working", None)
    assert Notification.objects.filter(title=f"Order marked as lost was found: {DU}").count() == 1
    assert row.run.timeline.filter(code="lost_order_found").count() == 1


def test_order_that_the_broker_itself_rejected_stays_rejected(account, book, gateway, patience):
    patience(0.4)
    gateway.fault(Kind.ORDER_ERROR, symbol="VTI", code=9999, message="The message of the broker.")
    carry_out(account)
    row = Order.objects.get(symbol="VTI")
    Order.objects.filter(pk=row.pk).update(message="IBKR 201: Order rejected.")
    foreign_order(book, gateway, ref=row.client_order_id, total=400)
    tasks.recover_open_orders()
    row.refresh_from_db()
    assert row.state == "rejected"
    assert not row.run.timeline.filter(code="lost_order_found").exists()


@pytest.mark.parametrize("state", ["cancelled", "rejected", "expired"])
def test_late_fills_complete_an_order_whatever_its_final_state(account, book, gateway, state):
    assert carry_out(account).state == "completed"
    order = Order.objects.get(symbol="VTI")
    Fill.objects.filter(order=order).delete()
    Order.objects.filter(pk=order.pk).update(state=state, filled_quantity=0, average_price_usd=None)
    carry_out(account)
    order.refresh_from_db()
    assert (order.state, order.filled_quantity, order.fills.count()) == ("filled", -400, 1)


def test_unknown_order_of_an_earlier_day_stays_unknown_without_a_wait(account, book, gateway, patience):
    """The broker has no records of that day: no wait could prove anything."""
    assert carry_out(account).state == "completed"
    earlier = timezone.now() - timedelta(days=2)
    Order.objects.filter(symbol="VTI").update(state="unknown", client_order_id="rb-gone-1", submitted_at=earlier)
    Fill.objects.filter(order__symbol="VTI").delete()
    book.orders.clear()
    patience(600)
    run = carry_out(account)
    assert (run.state, run.error_code) == ("refused", "orders_unknown")
    assert "earlier day" in Order.objects.get(client_order_id="rb-gone-1").message


def test_open_order_is_looked_up_after_its_account_has_moved_to_another_slot(account, book, gateway):
    run = carry_out(account)
    old = BrokerConnection.objects.create(broker="ibkr", environment="paper", client_id=101)
    RebalanceRun.objects.update(connection=old)
    Order.objects.filter(symbol="VTI").update(state="unknown")
    assert tasks.recover_open_orders() == 0
    assert run.orders.get(symbol="VTI").state == "filled"


# ---- orders without a row


@pytest.mark.parametrize(
    "fields", [{}, {"filled": 20}, {"filled": 50}, {"filled": 50, "ref": "rb-abcdefghjk-3"}], ids=str
)
def test_account_with_an_order_of_another_installation_is_refused(account, book, gateway, fields):
    order = foreign_order(book, gateway, **fields)
    run = carry_out(account)
    assert (run.state, run.error_code) == ("refused", "unrecorded_orders")
    assert order.ref in run.error_message
    assert book.orders == [order], "nothing was sent"
    assert (order.status == "Cancelled", UnrecordedOrder.objects.get().client_order_id) == (False, order.ref)
    assert carry_out(account).error_code == "unrecorded_orders"
    assert Notification.objects.filter(title=f"Orders without a record: {DU}").count() == 1
    assert carry_out(account, ExecCommand.PRINT_REBALANCE).state == "completed"


def test_order_without_the_prefix_is_a_manual_trade(account, book, gateway):
    foreign_order(book, gateway, filled=50, ref="by-hand")
    assert carry_out(account).state == "completed"
    assert not UnrecordedOrder.objects.exists()


def test_foreign_order_that_arrives_during_a_run_makes_it_need_attention(account, book, gateway):
    async def sell():
        order = GatewayOrder(77, 5, 0, DU, book.stock("GLD"), "BUY", Decimal(1), "LMT", Decimal(1), "DAY", FOREIGN)
        order.status = "Submitted"
        book.accept(order)

    gateway.when_accepted("IEF", sell)
    run = carry_out(account)
    assert (run.state, run.error_code) == ("needs_attention", "unrecorded_orders")


def test_reconcile_records_executions_as_rows_that_guards_count(account, book, gateway, capsys):
    account.trade_guard = "once_per_session"
    account.save()
    foreign_order(book, gateway, filled=50)
    assert carry_out(account).error_code == "unrecorded_orders"
    call_command("reconcile")
    assert f"{DU} {FOREIGN} VTI filled" in capsys.readouterr().out
    order = Order.objects.get()
    assert (order.client_order_id, order.state, order.quantity, order.filled_quantity) == (FOREIGN, "filled", -50, -50)
    assert (order.run.run_id, order.sequence, order.run.state) == ("abcdefghjk", 3, "failed")
    assert order.run.error_code == "recorded_from_broker"
    assert (Fill.objects.count(), ExecutedSession.objects.get().run) == (1, order.run)
    assert not UnrecordedOrder.objects.filter(resolved_at=None).exists()
    run = carry_out(account)
    assert (run.state, run.error_code) == ("deferred", "trade_guard")
    call_command("reconcile")
    assert Order.objects.count() == 1


def test_reconcile_records_an_open_order_that_blocks_until_it_ends(account, book, gateway):
    order = foreign_order(book, gateway, filled=20)
    carry_out(account)
    with pytest.raises(CommandError, match="Unresolved orders: 1"):
        call_command("reconcile")
    row = Order.objects.get()
    assert (row.state, row.quantity, row.filled_quantity) == ("working", -50, -20)
    assert carry_out(account).error_code == "orders_unknown"
    order.status = "Cancelled"
    run = carry_out(account)
    assert (run.state, run.error_message) == ("completed", "")
    row.refresh_from_db()
    assert row.state == "cancelled"


def test_reconcile_of_an_order_that_the_broker_no_longer_has_leaves_it_to_an_acknowledgement(account, book, gateway):
    foreign_order(book, gateway, filled=50)
    carry_out(account)
    book.orders.clear()
    with pytest.raises(CommandError, match="Unresolved orders: 1"):
        call_command("reconcile")
    User.objects.create_superuser("ann")
    call_command("resolve", FOREIGN, user="ann", comment="Statement of today")
    assert UnrecordedOrder.objects.get().resolution == "Acknowledged by ann: Statement of today"
    run = carry_out(account)
    assert (run.state, run.error_message) == ("completed", "")


# ---- a restored database


def restore(**fields):
    """What a restored backup has: the marker of the table from which it was made."""
    Installation.objects.update_or_create(
        pk=1, defaults={"installation_id": "k7m2pq", "database_marker": "of the table before", **fields}
    )


def test_restored_database_trades_nothing_until_every_account_is_reconciled(account, book, gateway):
    """An order of this installation, sent after the backup, is at the broker and in no row."""
    restore()
    foreign_order(book, gateway, filled=50, ref="rb-abcdefghjk-3-k7m2pq")
    run = carry_out(account)
    assert (run.state, run.error_code) == ("refused", "database_restored")
    call_command("reconcile")
    assert (ExecutedSession.objects.count(), Fill.objects.get().quantity) == (1, -50)
    run = carry_out(account)
    assert (run.state, run.error_message) == ("completed", "")
    assert_runs_are_resolved(book)


def test_restored_database_stays_paused_while_an_account_cannot_be_read(account, book, gateway):
    restore()
    gateway_account("DU9999999", TARGETS)
    with pytest.raises(CommandError, match="Trading stays paused"):
        call_command("reconcile")
    assert carry_out(account).error_code == "database_restored"
    account.__class__.objects.filter(account_id="DU9999999").update(enabled=False)
    call_command("reconcile")
    assert carry_out(account).state == "completed"


def test_reconcile_with_the_option_restored_pauses_trading(account, book, gateway):
    call_command("reconcile", restored=True)
    assert Notification.objects.filter(title="Database restored: trading is paused").count() == 1
    assert carry_out(account).error_code == "database_restored"
    assert RebalanceRun.objects.get().orders.count() == 0
    call_command("reconcile")
    assert carry_out(account).state == "completed"


def test_recorded_order_keeps_the_time_of_its_execution(account, book, gateway):
    foreign_order(book, gateway, filled=50)
    carry_out(account)
    call_command("reconcile")
    executed_at = Fill.objects.get().executed_at
    assert Order.objects.get().submitted_at == executed_at
    assert abs((datetime.now(UTC) - executed_at).total_seconds()) < 120
