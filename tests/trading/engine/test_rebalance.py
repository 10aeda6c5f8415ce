"""Runs from the request to the simulated broker's records, in this process."""

import logging
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from threading import Event

import pytest

from accounts.models import Account
from brokers.broker_types import TimeInForce
from brokers.simulated.faults import Kind, set_fault
from brokers.simulated.models import SimulatedAccount, SimulatedInstrument, SimulatedOrder
from tests.support.makers import QUICK_TIMINGS, act_during_run, carry_out, cash, held, policy, queue, strategy, work_run
from trading.models import ExecutedSession, Fill, Notification, Order, RebalanceRun
from trading.models.run_documents import ExecCommand

pytestmark = pytest.mark.django_db(transaction=True)
PREVIEW = ExecCommand.PRINT_REBALANCE


def weights(run):
    return {symbol: Decimal(weight) for symbol, weight in run.report["weights_after"].items()}


def orders_per_client_id():
    ids = list(SimulatedOrder.objects.values_list("client_order_id", flat=True))
    return {client_id: ids.count(client_id) for client_id in ids}


def assert_matches_broker(run):
    """Assert that the fills of the journal are the broker's executions, to the share and the cent."""
    ours = sorted(
        Fill.objects.filter(order__run=run).values_list("execution_id", "quantity", "price_usd", "commission_usd")
    )
    theirs = sorted(
        (fill.execution_id, fill.quantity, fill.price_usd, fill.commission_usd)
        for order in SimulatedOrder.objects.filter(client_order_id__startswith=f"rb-{run.run_id}-")
        for fill in order.executions.all()
    )
    assert ours == theirs
    assert all(count == 1 for count in orders_per_client_id().values())


def test_preview_makes_a_plan_and_sends_nothing(make_account):
    run = carry_out(make_account(), PREVIEW)
    assert (run.state, run.error_code) == ("completed", "")
    assert {trade["symbol"] for trade in run.result["trades"]} == {"SPY", "IEF"}
    assert run.plan_hash and run.plan_expires_at
    assert not SimulatedOrder.objects.exists() and not Order.objects.exists()


def test_execution_ends_at_its_targets_and_matches_the_broker_records(make_account):
    run = carry_out(make_account(positions={"VTI": "100"}, cash="50000"))
    assert run.state == "completed", run.error_message
    assert set(held("U1")) == {"SPY", "IEF"}
    assert abs(weights(run)["SPY"] - Decimal("0.6")) < Decimal("0.01")
    assert abs(weights(run)["IEF"] - Decimal("0.4")) < Decimal("0.01")
    assert cash("U1") >= 0
    assert_matches_broker(run)


def test_execution_filled_at_the_quotes_equals_its_preview(make_account):
    account = make_account(positions={"VTI": "40", "SPY": "20"}, cash="9000")
    preview = carry_out(account, PREVIEW)
    run = carry_out(account)
    assert run.plan_hash == preview.plan_hash
    sent = {order.symbol: order.filled_quantity for order in run.orders.all()}
    assert sent == {trade["symbol"]: trade["quantity"] for trade in preview.result["trades"]}


def test_buys_are_sent_after_the_last_sell_is_resolved(make_account):
    run = carry_out(make_account(positions={"VTI": "100"}, cash="100"))
    sells = [order for order in run.orders.all() if order.quantity < 0]
    buys = [order for order in run.orders.all() if order.quantity > 0]
    assert sells and buys
    assert max(order.finished_at for order in sells) <= min(order.submitted_at for order in buys)


def test_execution_keeps_the_cash_reserve(make_account):
    run = carry_out(make_account(cash_reserve_percent=Decimal(5), policy=policy(minimum_cash_reserve_usd=Decimal(0))))
    assert run.state == "completed"
    assert cash("U1") >= Decimal("0.05") * Decimal(run.snapshot["total_value_usd"])


def test_account_inside_its_band_sends_nothing(make_account):
    account = make_account()
    carry_out(account)
    run = carry_out(account)
    assert (run.state, run.result["trades"], run.orders.count()) == ("completed", [], 0)


def test_order_row_is_committed_before_its_order_is_sent(make_account):
    carry_out(make_account())
    for order in SimulatedOrder.objects.all():
        assert Order.objects.get(client_order_id=order.client_order_id).created_at < order.submitted_at


def test_second_preview_uses_cached_prices(make_account, caplog):
    account = make_account()
    carry_out(account, PREVIEW)
    with caplog.at_level(logging.INFO):
        carry_out(account, PREVIEW)
    lines = [record.getMessage() for record in caplog.records]
    assert any(line.startswith("Using cached price for SPY (age ") and line.endswith("s)") for line in lines)


def test_execution_never_uses_cached_prices(make_account, caplog):
    account = make_account()
    carry_out(account, PREVIEW)
    with caplog.at_level(logging.INFO):
        carry_out(account)
    assert not [record for record in caplog.records if "cached price" in record.getMessage()]


def test_log_lines_name_account_and_strategy(make_account, caplog):
    from trading.common.log_context import RunContextFilter

    caplog.handler.addFilter(RunContextFilter())
    with caplog.at_level(logging.INFO):
        carry_out(make_account(), PREVIEW)
    started = next(record for record in caplog.records if "started" in record.getMessage())
    assert started.context == "[ACCOUNT:U1] [STRATEGY:strategy-of-u1] "


# ---- broker faults


def test_rejected_order_is_reported_with_the_brokers_message_and_the_others_continue(make_account):
    account = make_account()
    set_fault(Kind.REJECT, symbol="SPY", message="201 - Order rejected: no permission")
    run = carry_out(account)
    assert run.state == "completed"
    assert [warning["code"] for warning in run.warnings] == ["order_rejected"]
    assert "no permission" in run.warnings[0]["message"]
    assert set(held("U1")) == {"IEF"}
    assert SimulatedOrder.objects.filter(symbol="SPY").count() == 0


def test_run_with_every_order_rejected_fails(make_account):
    account = make_account()
    set_fault(Kind.REJECT, times=9, message="The account is restricted")
    run = carry_out(account)
    assert (run.state, run.error_code) == ("failed", "all_orders_rejected")
    assert "restricted" in run.error_message


def test_partial_fill_at_the_deadline_is_cancelled_and_reported(make_account):
    account = make_account(policy=policy(order_timeout_seconds=1))
    set_fault(Kind.PARTIAL, symbol="IEF", number=0.5)
    run = carry_out(account)
    order = run.orders.get(symbol="IEF")
    assert (run.state, order.state) == ("completed", "cancelled")
    assert 0 < order.filled_quantity < order.quantity
    assert held("U1")["IEF"] == order.filled_quantity
    assert "order_not_filled" in [warning["code"] for warning in run.warnings]
    assert not SimulatedOrder.objects.filter(status="WORKING").exists()
    assert_matches_broker(run)


def test_buys_after_partial_sells_are_reduced_to_the_cash(make_account):
    account = make_account(positions={"VTI": "200"}, cash="0", policy=policy(order_timeout_seconds=1))
    set_fault(Kind.PARTIAL, symbol="VTI", number=0.5)
    run = carry_out(account)
    assert run.state == "completed", run.error_message
    assert held("U1")["VTI"] == 100
    assert cash("U1") >= 0
    assert_matches_broker(run)


@pytest.mark.parametrize("kind", [Kind.SILENT, Kind.DISCONNECT_AFTER])
def test_order_accepted_without_acknowledgement_is_found_and_not_resent(make_account, kind):
    """The broker has the order, but the request failed or the connection was lost."""
    account = make_account()
    set_fault(kind, symbol="SPY")
    run = carry_out(account)
    assert run.state == "completed", run.error_message
    assert set(held("U1")) == {"SPY", "IEF"}
    assert_matches_broker(run)


@pytest.mark.parametrize("kind", [Kind.LOST, Kind.DISCONNECT_BEFORE])
def test_order_marked_lost_is_planned_again_under_another_id(make_account, kind):
    account = make_account()
    set_fault(kind, symbol="SPY")
    run = carry_out(account)
    assert run.state == "completed", run.error_message
    assert sorted(run.orders.filter(symbol="SPY").values_list("state", flat=True)) == ["filled", "lost"]
    assert set(held("U1")) == {"SPY", "IEF"}
    assert_matches_broker(run)


def test_cancel_without_confirmation_leaves_an_unknown_order_and_needs_attention(make_account):
    account = make_account(policy=policy(order_timeout_seconds=1))
    set_fault(Kind.NO_FILL, symbol="SPY")
    set_fault(Kind.CANCEL_IGNORED, symbol="SPY", times=9)
    run = carry_out(account, timings=QUICK_TIMINGS)
    assert (run.state, run.error_code) == ("needs_attention", "orders_unknown")
    assert run.orders.get(symbol="SPY").state == "unknown"
    again = carry_out(account)
    assert (again.state, again.error_code) == ("refused", "orders_unknown")


@pytest.mark.parametrize("kind", [Kind.DUPLICATE_UPDATE, Kind.SUPPRESSED_UPDATE])
def test_updates_duplicated_or_lost_do_not_change_the_result(make_account, kind):
    account = make_account()
    set_fault(kind, times=50)
    run = carry_out(account, timings=QUICK_TIMINGS)
    assert run.state == "completed", run.error_message
    assert all(order.state == "filled" for order in run.orders.all())
    assert_matches_broker(run)


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (Kind.NAN_QUOTE, "quote_crossed"),
        (Kind.CROSSED_QUOTE, "quote_crossed"),
        (Kind.MISSING_QUOTE, "quote_missing"),
        (Kind.STALE_QUOTE, "quote_stale"),
    ],
)
def test_symbol_without_a_valid_quote_is_not_traded(make_account, kind, code):
    account = make_account(targets={"SPY": "0.92", "GLD": "0.08"})
    set_fault(kind, symbol="GLD")
    run = carry_out(account)
    assert run.state == "completed", run.error_message
    assert code in [warning["code"] for warning in run.warnings]
    assert set(held("U1")) == {"SPY"}


def test_symbol_with_a_wide_spread_is_not_traded(make_account):
    account = make_account(targets={"SPY": "0.92", "GLD": "0.08"})
    SimulatedInstrument.objects.filter(symbol="GLD").update(spread_bps=600)
    run = carry_out(account)
    assert next(warning["code"] for warning in run.warnings if "GLD" in warning["message"]) == "quote_spread"
    assert (run.state, set(held("U1"))) == ("completed", {"SPY"})


def test_plan_with_too_large_a_share_without_quotes_is_refused(make_account):
    account = make_account()
    set_fault(Kind.MISSING_QUOTE, symbol="SPY")
    run = carry_out(account)
    assert (run.state, run.error_code, run.orders.count()) == ("refused", "too_much_frozen", 0)


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (Kind.MUTE, "broker_silent"),
        (Kind.CONNECT_REFUSED, "broker_unreachable"),
        (Kind.INCOMPLETE, "incomplete_account_data"),
    ],
)
def test_broker_that_cannot_be_used_fails_the_run_by_code(make_account, kind, code):
    account = make_account(policy=policy(request_timeout_seconds=Decimal(1)))
    set_fault(kind, times=9)
    run = carry_out(account, timings=QUICK_TIMINGS)
    assert (run.state, run.error_code) == ("failed", code)
    assert not SimulatedOrder.objects.exists()


def test_open_orders_are_cancelled_before_the_first_order(make_account):
    from brokers.broker_types import OrderType
    from brokers.simulated.matching_engine import take_order

    account = make_account(cash="50000", positions={"VTI": "10"})
    take_order("U1", "GLD", Decimal(3), OrderType.LIMIT, Decimal("1.00"), "by-hand", TimeInForce.GTC)
    run = carry_out(account)
    assert run.state == "completed"
    assert SimulatedOrder.objects.get(client_order_id="by-hand").status == "CANCELLED"
    assert "open_orders_cancelled" in [warning["code"] for warning in run.warnings]


def test_account_that_fails_does_not_stop_the_others(make_account):
    from trading.engine.slot_worker import work_slot

    good, bad = make_account("U1"), make_account("U2")
    set_fault(Kind.INCOMPLETE, account_id="U2")
    runs = [queue(good), queue(bad)]
    assert good.connection_id == bad.connection_id
    work_slot(good.connection_id)
    states = {run.account.account_id: RebalanceRun.objects.get(pk=run.pk).state for run in runs}
    assert states == {"U1": "completed", "U2": "failed"}


def test_option_with_the_symbol_of_a_target_is_never_sold(make_account):
    from brokers.simulated.matching_engine import set_position

    account = make_account(positions={"SPY": "10"}, targets={"IEF": "1"})
    set_position("U1", "SPY", Decimal(3), kind="option", contract_id="OPT:SPY", own_mark_usd=Decimal(5))
    run = carry_out(account)
    assert run.state == "completed", run.error_message
    assert run.orders.get(symbol="SPY").quantity == -10
    option = SimulatedAccount.objects.get(account_id="U1").positions.get(contract_id="OPT:SPY")
    assert option.quantity == 3


def test_executed_session_is_stored_with_the_first_order(make_account):
    account = make_account(trade_guard=Account.TradeGuard.ONCE_PER_SESSION)
    run = carry_out(account)
    assert ExecutedSession.objects.get(account=account).run == run


def test_second_execution_in_a_session_is_deferred_to_the_next(make_account):
    account = make_account(trade_guard=Account.TradeGuard.ONCE_PER_SESSION)
    first, second = carry_out(account), carry_out(account)
    assert (first.state, second.state, second.error_code) == ("completed", "deferred", "trade_guard")
    assert second.not_before > second.queued_at
    titles = list(Notification.objects.order_by("id").values_list("title", flat=True))
    assert titles == ["Rebalance completed: U1", "Rebalance deferred (trade guard): U1"]


@pytest.mark.parametrize("share", ["U1", "U7"])
def test_notifications_include_account_values_only_if_enabled(make_account, settings, share):
    settings.USER_NOTIFICATIONS_INCLUDE_VALUES = share == "U7"
    carry_out(make_account(share))
    body = Notification.objects.get().body
    assert ("Account value $" in body) == (share == "U7")


def test_sale_of_unmanaged_positions_counts_for_the_turnover_limit(make_account):
    run = carry_out(make_account(positions={"VTI": "250"}, cash="100", policy=policy(max_turnover_percent=Decimal(20))))
    assert (run.state, run.error_code, run.orders.count()) == ("refused", "turnover_limit", 0)


def test_unknown_order_is_resolved_by_reconcile_and_unblocks_the_account(make_account):
    from io import StringIO

    from django.core.management import call_command
    from django.core.management.base import CommandError

    account = make_account(policy=policy(order_timeout_seconds=1))
    set_fault(Kind.NO_FILL, symbol="SPY")
    set_fault(Kind.CANCEL_IGNORED, symbol="SPY")
    run = carry_out(account, timings=QUICK_TIMINGS)
    assert run.error_code == "orders_unknown"
    with pytest.raises(CommandError) as still_open:  # the broker has it, and it is still open
        call_command("reconcile", run.run_id, stdout=StringIO())
    assert still_open.value.returncode == 1
    SimulatedOrder.objects.filter(symbol="SPY").update(status="CANCELLED")
    out = StringIO()
    call_command("reconcile", stdout=out)
    assert "SPY cancelled" in out.getvalue()
    again = carry_out(account)
    assert again.state == "completed", again.error_message
    assert set(held("U1")) == {"SPY", "IEF"}


def test_pause_between_sells_and_buys_sends_no_buy(make_account, monkeypatch):
    from trading.orders import execution

    account = make_account(positions={"VTI": "100"}, cash="0")
    original = execution.OrderPhase.execute

    async def pause_after(self, orders):
        done = await original(self, orders)
        await Account.objects.filter(pk=account.pk).aupdate(trading_paused=True)
        return done

    monkeypatch.setattr(execution.OrderPhase, "execute", pause_after)
    run = carry_out(account)
    assert {order.symbol for order in run.orders.filter(state="filled")} == {"VTI"}
    assert not SimulatedOrder.objects.filter(quantity__gt=0).exists()


def test_worker_after_its_claim_window_leaves_runs_to_the_next_wake_up(make_account):
    """So that the worker's task ends within its timeout."""
    from django_q.models import OrmQ

    run = queue(make_account())
    OrmQ.objects.all().delete()
    work_run(run, replace(QUICK_TIMINGS, claim_window_seconds=-1))
    assert (run.state, OrmQ.objects.count()) == ("queued", 1)


def test_accounts_of_one_event_share_connection_targets_and_quotes(make_account, allocations, monkeypatch):
    from brokers.simulated.client import SimulatedBroker
    from trading.engine.slot_worker import work_slot
    from trading.inbox.receive import receive_event
    from trading.models import EventSource

    shared = strategy("blend")
    allocations.publish("blend", [("SPY", 0.6), ("IEF", 0.4)])
    accounts = [make_account(f"U{i}", strategy=shared, targets=()) for i in range(4)]
    requested, connected = [], []
    fetch, connect = SimulatedBroker._fetch_prices, SimulatedBroker.connect

    async def counting_fetch(self, symbols):
        requested.extend(symbols)
        return await fetch(self, symbols)

    async def counting_connect(self):
        connected.append(self.settings.client_id)
        await connect(self)

    monkeypatch.setattr(SimulatedBroker, "_fetch_prices", counting_fetch)
    monkeypatch.setattr(SimulatedBroker, "connect", counting_connect)
    event = receive_event(source=EventSource.ABLY, channel="blend", message_id="m", payload={"exec": "rebalance"})
    assert work_slot(accounts[0].connection_id)
    assert set(event.runs.values_list("state", flat=True)) == {"completed"}
    assert allocations.requests == [("/blend/allocations", "test-allocations-key")]
    assert sorted(requested) == ["IEF", "SPY"]
    assert connected == [accounts[0].connection.client_id]


def test_account_read_long_before_its_targets_is_read_again(make_account, allocations, monkeypatch):
    """Half of the cash is withdrawn while the allocations service is slow."""
    from brokers.simulated.client import SimulatedBroker

    account = make_account(strategy=strategy("slow"), targets=(), cash="100000")
    allocations.publish("slow", [("SPY", 0.6), ("IEF", 0.4)])
    _, published, _ = allocations.answers["slow"]
    was_read = Event()
    original = SimulatedBroker.get_account_snapshot

    async def then_withdraw_half_of_the_cash(self, account_id, **options):
        snapshot = await original(self, account_id, **options)
        await SimulatedAccount.objects.filter(account_id=account_id, cash_usd=100_000).aupdate(cash_usd=50_000)
        was_read.set()
        return snapshot

    def after_the_account_was_read():
        assert was_read.wait(10)
        return 200, published

    monkeypatch.setattr(SimulatedBroker, "get_account_snapshot", then_withdraw_half_of_the_cash)
    allocations.answer("slow", 200, after_the_account_was_read)
    run = carry_out(account, timings=replace(QUICK_TIMINGS, account_age_seconds=0.0))
    assert run.state == "completed", run.error_message
    assert Decimal(run.snapshot["cash_usd"]) == 50_000
    assert cash("U1") >= 0


def test_shares_sold_manually_during_planning_are_not_sold_again(make_account, monkeypatch):
    from brokers.simulated.client import SimulatedBroker
    from brokers.simulated.models import SimulatedPosition

    account = make_account(positions={"VTI": "100"}, cash="50000")
    original = SimulatedBroker.get_multiple_market_prices

    async def while_another_client_sells(self, symbols, **options):
        await SimulatedPosition.objects.filter(symbol="VTI", quantity=100).aupdate(quantity=40)
        return await original(self, symbols, **options)

    monkeypatch.setattr(SimulatedBroker, "get_multiple_market_prices", while_another_client_sells)
    run = carry_out(account)
    assert [int(order.quantity) for order in run.orders.filter(symbol="VTI")] in ([], [-40])
    assert held("U1").get("VTI", 0) in {0, 40}


def test_buys_after_the_close_are_not_sent(make_account, monkeypatch, settings):
    import time_machine

    from brokers.exchange_calendar import NEW_YORK, ExchangeCalendar
    from trading.engine import slot_worker
    from trading.orders import execution

    account = make_account(positions={"VTI": "100"}, cash="0")
    settings.LEASE_TTL_SECONDS = 3600  # SQLite's clock is the host's, and moves as well
    monkeypatch.setattr(slot_worker, "market_calendar", lambda: ExchangeCalendar("XNYS"))
    with time_machine.travel(datetime(2026, 11, 25, 15, 52, tzinfo=NEW_YORK)) as clock:
        sent = execution.OrderPhase._submit

        async def then_move_the_clock(self, number, submitting):
            ended = await sent(self, number, submitting)
            clock.shift(600)
            return ended

        monkeypatch.setattr(execution.OrderPhase, "_submit", then_move_the_clock)
        run = carry_out(account)
    assert {order.symbol: order.state for order in run.orders.all() if order.quantity > 0} == {
        "SPY": "cancelled",
        "IEF": "cancelled",
    }
    assert {"order_not_sent"} <= {warning["code"] for warning in run.warnings}


def test_unsent_orders_of_an_interrupted_attempt_are_not_reported(make_account):
    from brokers.broker_types import OrderType
    from trading.journal import claims, leases, orders

    run = queue(make_account())
    lease = leases.claim_lease(run.connection_id, "a worker that dies")
    claims.claim_runs(lease)
    left = orders.PlannedOrder("GLD", Decimal(1), OrderType.LIMIT, Decimal(100), None, TimeInForce.DAY, "underweight")
    orders.plan_orders(lease, run.pk, [left])
    leases.release_lease(lease)
    work_run(run)
    assert (run.state, run.warnings) == ("completed", [])
    assert run.orders.get(symbol="GLD").state == "cancelled"


def test_account_added_to_a_slot_whose_connection_is_open_is_rebalanced_over_it(make_account, monkeypatch):
    account = make_account()

    def add():
        new = make_account("U2")
        assert new.connection_id == account.connection_id
        queue(new)

    act_during_run(monkeypatch, add, until=lambda: RebalanceRun.objects.filter(account__account_id="U2"))
    assert carry_out(account).state == "completed"
    run = RebalanceRun.objects.get(account__account_id="U2")
    assert (run.state, run.error_message) == ("completed", "")
    assert held("U2") == held("U1")
