"""Runs over the gateway on loopback: each known fault ends with a completed run or one that needs attention."""

import asyncio
from dataclasses import replace
from decimal import Decimal
from functools import partial

import pytest
from django.db import OperationalError
from django.utils import timezone

from accounts.models import Account
from brokers.exchange_calendar import NEW_YORK
from brokers.ibkr.client import InteractiveBrokers
from brokers.ibkr.limits import Limits
from tests.support import makers
from tests.support.ibkr_accounts import SHORT, assert_orders_are_safe, assert_runs_are_resolved, gateway_account
from tests.support.ibkr_gateway import AccountRecords, GatewayOrder, GatewayThread, Kind, messages
from tests.support.ibkr_gateway.order_handler import OrderHandler
from tests.support.ibkr_gateway.responses import Responses
from tests.support.ibkr_gateway.session import EXECUTIONS
from tests.support.makers import policy, queue, work_run
from trading.common.timings import Timings
from trading.engine.connection import SlotConnection
from trading.engine.rebalance import Rebalancer
from trading.engine.slot_worker import work_slot
from trading.models import AccountStanding, RebalanceRun
from trading.models.run_documents import ExecCommand
from trading.monitoring.doctor.registry import examine

pytestmark = pytest.mark.django_db(transaction=True)

DU = "DU1000001"
TARGETS = {"SPY": "0.5", "IEF": "0.3", "GLD": "0.2"}
TIMINGS = Timings(
    reconnect_delay_seconds=0.05,
    cancel_seconds=1.0,
    positions_seconds=2.0,
    order_silence_seconds=0.3,
    quotes_seconds=10.0,
)
NO_PATIENCE = replace(TIMINGS, broker_wait_seconds=-1)
carry_out = partial(makers.carry_out, timings=TIMINGS)


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch, transactional_db):
    from accounts.models import RebalancePolicy

    RebalancePolicy.objects.get_or_create(is_default=True, defaults={"name": "default"})
    limits = Limits(
        values_lag_seconds=0.1, values_retry_seconds=0.05, connect_retry_seconds=0.1, refusal_wait_seconds=0.1
    )
    monkeypatch.setattr(InteractiveBrokers, "limits", limits)
    short = InteractiveBrokers.capabilities.model_copy(update={"empty_answer_seconds": 0.5})
    monkeypatch.setattr(InteractiveBrokers, "capabilities", short)


@pytest.fixture
def book():
    """Three targets, and one symbol that has to be sold for them."""
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


def log_in_with(gateway, *account_ids):
    """Let the gateway's login manage only these accounts."""
    for account_id in account_ids:
        if account_id not in gateway.records.accounts:
            gateway.records.add_account(account_id)
    gateway.gateway.managed_accounts = list(account_ids)


def warnings(run):
    return {warning["code"]: warning["message"] for warning in run.warnings}


def assert_at_targets(book, account_id=DU):
    total = book.values(account_id)["NetLiquidation"]
    for symbol, weight in TARGETS.items():
        share = book.shares(account_id, symbol) * 100 / total
        assert abs(share - Decimal(weight)) < Decimal("0.01"), symbol
    assert book.shares(account_id, "VTI") == 0


def test_run_sells_then_buys_and_ends_at_its_targets(account, book):
    run = carry_out(account)
    assert (run.state, run.error_message) == ("completed", "")
    assert_at_targets(book)
    assert_runs_are_resolved(book)
    assert Decimal(run.report["residual_drift_after"]) < Decimal("0.01")
    sides = [order.action for order in book.orders]
    assert sides == sorted(sides, reverse=True), "every sell is sent before the first buy"


@pytest.mark.parametrize("lag_seconds", [0.0, 0.6])
def test_withdrawal_between_sells_and_buys_is_not_spent(account, book, gateway, monkeypatch, lag_seconds):
    """A margin account would lend the missing money without a word."""
    gateway.gateway.values_lag_seconds = lag_seconds
    original = Rebalancer._buy

    def withdraw() -> None:
        book.accounts[DU].cash -= 15_000

    async def after_withdrawal(self, proposal, sells):
        gateway.do(withdraw)
        return await original(self, proposal, sells)

    monkeypatch.setattr(Rebalancer, "_buy", after_withdrawal)
    run = makers.carry_out(account, timings=replace(TIMINGS, cash_seconds=3.0))
    assert (run.state, run.error_message) == ("completed", "")
    assert book.accounts[DU].lowest_cash >= 0 and book.accounts[DU].cash < 1_000
    assert run.timeline.filter(code="buys_reduced").exists()


def test_preview_sends_nothing(account, book, gateway):
    run = carry_out(account, ExecCommand.PRINT_REBALANCE)
    assert (run.state, run.error_message) == ("completed", "")
    assert {trade["symbol"] for trade in run.result["trades"]} == {"SPY", "IEF", "GLD", "VTI"}
    assert book.orders == []


@pytest.mark.parametrize(
    "kind",
    [
        Kind.DROP_BEFORE,
        Kind.DROP_AFTER,
        Kind.LOST,
        Kind.SILENT,
        Kind.NO_STATUS,
        Kind.TWICE,
        Kind.STATUS_BEFORE_EXECUTION,
    ],
)
@pytest.mark.parametrize("symbol", ["VTI", "IEF"])
def test_order_without_acknowledgement_is_found_or_marked_lost_and_the_run_completes(
    account, book, gateway, kind, symbol
):
    gateway.fault(kind, symbol=symbol)
    run = carry_out(account)
    assert (run.state, run.error_message) == ("completed", "")
    assert_at_targets(book)
    assert_runs_are_resolved(book)


@pytest.mark.parametrize("kind", [Kind.REJECT, Kind.REJECT_STATUS_FIRST])
def test_rejected_order_is_reported_with_the_brokers_message_and_the_others_continue(account, book, gateway, kind):
    gateway.fault(kind, symbol="IEF", message="Order rejected - reason: no trading permission")
    run = carry_out(account)
    assert run.state == "completed", run.error_message
    assert "no trading permission" in warnings(run)["order_rejected"]
    assert book.shares(DU, "GLD") > 0 and book.shares(DU, "IEF") == 0
    assert_runs_are_resolved(book)


@pytest.mark.parametrize("code", [110, 321, 434, 451, 9999, 10243])
def test_order_refused_by_an_error_code_is_rejected_and_the_run_completes(account, book, gateway, code):
    gateway.fault(Kind.ORDER_ERROR, symbol="IEF", code=code, message="The message of the broker.")
    run = carry_out(account)
    assert run.state == "completed", run.error_message
    assert f"IBKR {code}: The message of the broker." in warnings(run)["order_rejected"]
    assert_runs_are_resolved(book)


@pytest.mark.parametrize("code", [399, 10349])
def test_order_with_a_warning_code_stays_open(account, book, gateway, code):
    gateway.fault(Kind.ORDER_WARNING, symbol="IEF", code=code)
    run = carry_out(account)
    assert run.state == "completed", run.error_message
    assert_at_targets(book)
    assert_runs_are_resolved(book)


def test_partial_fill_at_its_deadline_is_cancelled_and_buys_are_reduced_to_the_cash(account, book, gateway):
    gateway.fault(Kind.PARTIAL, symbol="VTI", share=0.5)
    run = carry_out(account)
    assert run.state == "completed", run.error_message
    assert {"order_not_filled"} <= set(warnings(run))
    assert book.shares(DU, "VTI") == 200
    assert_runs_are_resolved(book)


def test_fill_during_a_cancel_is_counted(account, book, gateway):
    gateway.fault(Kind.NO_FILL, symbol="VTI")
    gateway.fault(Kind.FILL_DURING_CANCEL, symbol="VTI")
    run = carry_out(account)
    assert run.state == "completed", run.error_message
    assert_at_targets(book)
    assert_runs_are_resolved(book)


def test_cancel_without_confirmation_needs_attention_and_blocks_the_account(account, book, gateway):
    gateway.fault(Kind.NO_FILL, symbol="VTI")
    gateway.fault(Kind.CANCEL_IGNORED, symbol="VTI", times=9)
    run = carry_out(account)
    assert (run.state, run.error_code) == ("needs_attention", "orders_unknown")
    waiting = run.error_message.rpartition("Buys that were not sent: ")[2].rstrip(".").split(", ")
    assert set(waiting) == {"SPY", "IEF", "GLD"}
    assert_orders_are_safe(book)
    assert all(order.action == "SELL" for order in book.orders)
    again = carry_out(account)
    assert again.state in {"refused", "needs_attention"}
    assert_orders_are_safe(book)


def test_open_order_of_another_client_fails_the_run(account, book, gateway):
    first = carry_out(account)
    assert first.state == "completed"
    foreign_order = book.orders[0]
    foreign_order.client_id, foreign_order.status, foreign_order.ref = 0, "Submitted", "by-hand"
    foreign_order.fills.clear()
    book.accounts[DU].positions[book.stock("VTI").con_id] = Decimal(100)
    run = carry_out(account)
    assert (run.state, run.error_code) == ("failed", "open_orders_remain")
    assert "VTI" in run.error_message
    assert_orders_are_safe(book)


def test_open_order_filled_in_parts_is_cancelled_and_the_account_is_planned_again(account, book, gateway, monkeypatch):
    """Each fill changes the positions. Without the cancellation every new plan would come too late."""
    open_orders = Responses.open_orders
    order = GatewayOrder(
        client_id=account.connection.client_id,
        order_id=1,
        perm_id=0,
        account_id=DU,
        instrument=book.stock("GLD"),
        action="BUY",
        total=Decimal(9),
        order_type="LMT",
        limit=Decimal("100.01"),
        tif="DAY",
        ref="earlier",
        status="Submitted",
    )

    def then_fill_another_share(responses, *, own):
        open_orders(responses, own=own)
        if order.is_open and not own:
            gateway.gateway.order_handler.send_fill(order, book.fill(order, Decimal(1), order.limit))

    monkeypatch.setattr(Responses, "open_orders", then_fill_another_share)
    gateway.do(book.accept, order)
    gateway.gateway.next_order_id = 2
    run = carry_out(account)
    assert (run.state, run.error_message) == ("completed", "")
    assert order.status == "Cancelled"
    assert_at_targets(book)
    assert_runs_are_resolved(book)


def test_account_values_that_lag_behind_fills_do_not_affect_the_next_run(book, settings):
    with GatewayThread(book, values_lag_seconds=1.0) as gateway:
        settings.IB_PORT = gateway.port
        account = gateway_account(DU, TARGETS)
        first, second = carry_out(account), carry_out(account)
    assert (first.state, second.state) == ("completed", "completed"), (first.error_message, second.error_message)
    assert Decimal(first.report["cash_usd"]) == book.accounts[DU].cash
    assert second.result["trades"] == []
    assert_runs_are_resolved(book)


@pytest.mark.parametrize(
    ("kind", "fields", "code", "detail"),
    [
        (Kind.EMPTY_QUOTE, {}, "quote_crossed", "GLD"),
        (Kind.ONE_SIDED_QUOTE, {}, "quote_crossed", "GLD"),
        (Kind.CROSSED_QUOTE, {}, "quote_crossed", "GLD"),
        (Kind.MISSING_QUOTE, {}, "quote_missing", "GLD"),
        (Kind.DELAYED_QUOTE, {}, "quote_delayed", "IBKR 10167"),
        (Kind.QUOTE_ERROR, {"code": 354}, "quote_missing", "not subscribed"),
        (Kind.QUOTE_ERROR, {"code": 10089}, "quote_missing", "subscription"),
        (Kind.QUOTE_ERROR, {"code": 10197}, "quote_missing", "competing session"),
    ],
)
def test_symbol_without_a_live_two_sided_quote_is_not_traded(book, gateway, kind, fields, code, detail):
    account = gateway_account(DU, {"SPY": "0.6", "IEF": "0.35", "GLD": "0.05"})
    gateway.fault(kind, symbol="GLD", **fields)
    run = carry_out(account, timings=replace(TIMINGS, quotes_seconds=1.0))
    assert run.state == "completed", run.error_message
    assert detail in warnings(run)[code]
    assert {order.instrument.symbol for order in book.orders} == {"SPY", "IEF", "VTI"}
    assert_runs_are_resolved(book)


def test_position_without_market_data_permission_is_not_traded_and_the_others_are(account, book, gateway):
    book.accounts[DU].positions = {book.stock("VTI").con_id: Decimal(1)}
    gateway.fault(Kind.QUOTE_ERROR, symbol="VTI", code=354)
    run = carry_out(account)
    assert run.state == "completed", run.error_message
    assert "not subscribed" in warnings(run)["quote_missing"]
    assert {order.instrument.symbol for order in book.orders} == set(TARGETS)
    assert_runs_are_resolved(book)


def test_previously_held_symbol_that_is_unknown_now_does_not_affect_the_run(account, book, gateway, monkeypatch):
    """Its quote is requested early, because the account held it when it was last planned."""
    AccountStanding.objects.create(
        account=account,
        as_of=timezone.now(),
        total_value_usd=1,
        cash_usd=0,
        weights=[["GONE", "0.9"], ["SPY", "0.1"]],
    )
    contract_details = Responses.contract_details

    def without_the_unknown_symbol(responses, request_id, contract):
        if contract.symbol == "GONE":
            responses._send(messages.error(request_id, 321, "Error validating request."))
        else:
            contract_details(responses, request_id, contract)

    monkeypatch.setattr(Responses, "contract_details", without_the_unknown_symbol)
    run = carry_out(account)
    assert (run.state, run.error_message) == ("completed", "")
    assert_at_targets(book)
    assert_runs_are_resolved(book)


def test_symbol_whose_exchange_is_closed_is_not_traded_and_named(book, gateway, monkeypatch):
    monkeypatch.setattr("trading.planning.inputs.never_closes", lambda _: False)
    book.stock("GLD").hours = f"{timezone.now().astimezone(NEW_YORK):%Y%m%d}:CLOSED"
    run = carry_out(gateway_account(DU, {"SPY": "0.6", "IEF": "0.35", "GLD": "0.05"}))
    assert run.state == "completed", run.error_message
    assert "GLD" in warnings(run)["exchange_closed"]
    assert {order.instrument.symbol for order in book.orders} == {"SPY", "IEF", "VTI"}
    assert_runs_are_resolved(book)


def test_run_without_any_quote_fails_with_the_brokers_message(account, book, gateway):
    gateway.fault(Kind.QUOTE_ERROR, code=10197, times=99)
    run = carry_out(account)
    assert (run.state, run.error_code) == ("failed", "market_data_unavailable")
    assert "competing session" in run.error_message
    assert book.orders == []


def test_delayed_quotes_allowed_by_the_policy_are_traded(book, gateway):
    account = gateway_account(DU, TARGETS, policy=policy("delayed", **SHORT, allow_delayed_quotes=True))
    gateway.fault(Kind.DELAYED_QUOTE, times=9)
    run = carry_out(account)
    assert run.state == "completed", run.error_message
    assert_at_targets(book)


def test_gateway_restart_during_a_run_loses_no_order_and_repeats_none(account, book, gateway):
    gateway.fault(Kind.NO_FILL, symbol="VTI")

    async def restart():
        await gateway.gateway.restart(next_order_id=1)
        (order,) = [order for order in book.orders if order.instrument.symbol == "VTI"]
        order.held = False
        gateway.gateway.order_handler.fill(order)

    gateway.when_accepted("VTI", restart)
    run = carry_out(account)
    assert (run.state, run.error_message) == ("completed", "")
    assert_at_targets(book)
    assert_runs_are_resolved(book)


def test_commission_lost_with_the_connection_is_looked_up(account, book, gateway, monkeypatch):
    send_fill = OrderHandler.send_fill

    def then_disconnect_before_the_commission(handler, order, fill):
        commission, fill.commission = fill.commission, None
        send_fill(handler, order, fill)
        fill.commission = commission
        if order.instrument.symbol == "VTI":
            gateway.gateway.drop_all()
        else:
            handler.send(order, messages.commission_report(fill))

    monkeypatch.setattr(OrderHandler, "send_fill", then_disconnect_before_the_commission)
    run = carry_out(account)
    assert (run.state, run.error_message) == ("completed", "")
    assert_at_targets(book)
    assert_runs_are_resolved(book)


@pytest.mark.parametrize("code", [1101, 1102])
def test_gateway_offline_during_a_run_is_waited_for(account, book, gateway, code):
    async def cut():
        gateway.gateway.lose_broker()
        await asyncio.sleep(0.5)
        gateway.gateway.restore_broker(code)

    gateway.when_accepted("VTI", cut)
    run = carry_out(account)
    assert (run.state, run.error_message) == ("completed", "")
    assert_at_targets(book)
    assert_runs_are_resolved(book)


def test_gateway_offline_at_the_start_is_retried(account, book, gateway, monkeypatch):
    gateway.do(gateway.gateway.lose_broker)
    close_if_broken = SlotConnection.close_if_broken

    async def after_the_gateway_is_back(connection):
        await asyncio.to_thread(gateway.do, gateway.gateway.restore_broker)
        await close_if_broken(connection)

    monkeypatch.setattr(SlotConnection, "close_if_broken", after_the_gateway_is_back)
    run = carry_out(account)
    assert (run.state, run.error_message) == ("completed", "")
    assert_at_targets(book)
    assert_runs_are_resolved(book)


def test_gateway_that_stays_offline_makes_the_run_wait_and_then_need_attention(account, book, gateway):
    async def cut():
        gateway.gateway.lose_broker()

    gateway.when_accepted("VTI", cut)
    run = carry_out(account)
    assert run.state == "running"
    assert_orders_are_safe(book)
    work_run(run, NO_PATIENCE)
    assert (run.state, run.error_code) == ("needs_attention", "broker_silent")
    assert_orders_are_safe(book)


def test_dropped_connection_whose_client_id_is_held_is_retried_with_the_same_id(book, settings):
    with GatewayThread(book, hold_id_seconds=0.5) as gateway:
        settings.IB_PORT = gateway.port
        account = gateway_account(DU, TARGETS)
        gateway.fault(Kind.DROP_AFTER, symbol="VTI")
        run = carry_out(account)
        assert (run.state, run.error_message) == ("completed", "")
        assert {order.client_id for order in book.orders} == {account.connection.client_id}
    assert_at_targets(book)
    assert_runs_are_resolved(book)


def test_account_added_to_a_slot_whose_connection_is_open_is_rebalanced_over_it(account, book, gateway, monkeypatch):
    added = "DU1000009"
    book.add_account(added, cash="1000", positions={"VTI": "400", "SPY": "100"})

    def add():
        new = gateway_account(added, TARGETS)
        assert new.connection_id == account.connection_id
        queue(new)

    makers.act_during_run(monkeypatch, add, until=lambda: RebalanceRun.objects.filter(account__account_id=added))
    assert carry_out(account).state == "completed"
    run = RebalanceRun.objects.get(account__account_id=added)
    assert (run.state, run.error_message) == ("completed", "")
    assert_at_targets(book, added)
    assert_runs_are_resolved(book)


def test_client_id_in_use_makes_the_run_wait_and_then_need_attention(account, book, gateway):
    gateway.do(gateway.gateway.sessions.__setitem__, account.connection.client_id, object())
    run = carry_out(account)
    assert run.state in {"queued", "running"}
    work_run(run, NO_PATIENCE)
    assert (run.state, run.error_code) == ("needs_attention", "client_id_in_use")
    assert str(account.connection.client_id) in run.error_message
    gateway.do(gateway.gateway.sessions.clear)
    assert book.orders == []


def test_connection_is_closed_when_the_client_id_status_cannot_be_stored(account, gateway, monkeypatch):
    """The database fails right after the connection was opened. The run resumes under the next lease."""
    account.connection.in_use_since = timezone.now()
    account.connection.save()

    def fail(*_, **__):
        raise OperationalError

    with monkeypatch.context() as broken:
        broken.setattr("trading.engine.connection.record_client_id_in_use", fail)
        run = carry_out(account)
    assert run.state == "running"
    assert gateway.do(gateway.gateway.sessions.copy) == {}
    assert work_run(run, TIMINGS).state == "completed"


def test_non_stock_with_the_symbol_of_a_stock_is_never_sold(account, book):
    for fields in (
        {"symbol": "VTI", "sec_type": "OPT", "multiplier": "100", "expiry": "20270115", "strike": "300", "right": "C"},
        {"symbol": "SPY", "currency": "EUR", "primary_exchange": "IBIS"},
    ):
        other = book.add_instrument(fields.pop("symbol"), bid="1.99", ask="2.01", **fields)
        book.accounts[DU].positions[other.con_id] = Decimal(3)
    run = carry_out(account)
    assert (run.state, run.error_message) == ("completed", "")
    assert {order.instrument.sec_type for order in book.orders} == {"STK"}
    assert {order.instrument.currency for order in book.orders} == {"USD"}
    assert sorted(book.accounts[DU].positions.values())[:2] == [0, 3] or book.shares(DU, "VTI") == 0
    assert_runs_are_resolved(book)


def test_short_option_refuses_the_plan(account, book):
    option = book.add_instrument("SPY", bid="1.99", ask="2.01", sec_type="OPT", multiplier="100", right="C")
    book.accounts[DU].positions[option.con_id] = Decimal(-1)
    run = carry_out(account)
    assert (run.state, run.error_code) == ("refused", "short_position")
    assert book.orders == []


@pytest.mark.parametrize(
    ("setup", "code", "detail"),
    [
        (lambda gateway: gateway.fault(Kind.NO_VALUE), "incomplete_account_data", "NetLiquidation"),
        (lambda gateway: gateway.fault(Kind.NO_POSITIONS_END, times=9), "broker_silent", ""),
        (lambda gateway: gateway.do(setattr, gateway.gateway, "muted", True), "broker_silent", ""),
        (lambda gateway: gateway.wait(gateway.gateway.stop()), "broker_unreachable", ""),
        (
            lambda gateway: log_in_with(gateway, "DU9999999"),
            "account_not_managed",
            "DU9999999",
        ),
        (
            lambda gateway: log_in_with(gateway, DU, "U7654321"),
            "wrong_environment",
            "U7654321",
        ),
    ],
    ids=["no NetLiquidation", "positions not confirmed", "mute", "port refused", "not managed", "live accounts"],
)
def test_gateway_with_unusable_data_fails_the_run_by_code(book, gateway, setup, code, detail):
    account = gateway_account(DU, TARGETS, policy=policy("brief", **SHORT | {"connection_timeout_seconds": Decimal(1)}))
    setup(gateway)
    run = carry_out(account)
    assert (run.state, run.error_code) == ("failed", code)
    assert detail in run.error_message
    assert book.orders == []


def test_live_account_at_a_paper_gateway_is_refused_before_connecting(book, gateway, settings):
    settings.TRADING_MODE = "live"
    settings.ALLOW_LIVE_TRADING = True
    account = gateway_account("U1000001", TARGETS, type="live", live_armed=True)
    run = carry_out(account)
    assert (run.state, run.error_code) == ("failed", "wrong_environment")
    assert book.orders == []


def test_account_in_another_base_currency_fails_with_its_currency(account, book):
    book.accounts[DU].base_currency = "EUR"
    run = carry_out(account)
    assert (run.state, run.error_code) == ("failed", "incomplete_account_data")
    assert "EUR" in run.error_message
    assert book.orders == []


@pytest.mark.parametrize(("symbol", "code"), [("IEF", "buy_not_feasible"), ("VTI", "sell_not_feasible")])
def test_order_that_is_not_feasible_refuses_the_run_before_the_first_sell(account, book, gateway, symbol, code):
    book.accounts[DU].cash = book.accounts[DU].lowest_cash = Decimal(20_000)
    gateway.do(gateway.gateway.script.add, Kind.REJECT_WHAT_IF, symbol=symbol, message="MARGIN EXCEEDED")
    run = carry_out(account)
    assert (run.state, run.error_code) == ("refused", code)
    assert "MARGIN EXCEEDED" in run.error_message
    assert book.orders == []


def test_feasibility_is_checked_for_the_largest_buy_and_symbols_not_filled_recently(account, book, gateway):
    """Each what-if request counts against the request rate of the connection."""
    assert carry_out(account).state == "completed"
    stock = book.stock("VTI")
    book.accounts[DU].positions[stock.con_id], book.accounts[DU].cash = Decimal(100), Decimal(20_000)
    before = len(gateway.gateway.order_handler.what_ifs)
    again = carry_out(account)
    assert again.state == "completed", again.error_message
    (what_if,) = gateway.gateway.order_handler.what_ifs[before:]
    assert (what_if.action, what_if.instrument.symbol) == ("BUY", "SPY")


def test_large_event_uses_all_slots_and_keeps_the_request_rate(book, gateway):
    accounts = []
    for number in range(2, 13):
        book.add_account(f"DU10000{number:02}", cash="1000", positions={"VTI": "400", "SPY": "100"})
        accounts.append(gateway_account(f"DU10000{number:02}", TARGETS))
    slots = [account.connection_id for account in accounts]
    assert sorted(slots.count(slot) for slot in set(slots)) == [1, 1, 1, 1, 1, 2, 2, 2]
    runs = [queue(account) for account in accounts]
    for slot in sorted(set(slots)):
        assert work_slot(slot, TIMINGS)
    states = {RebalanceRun.objects.get(pk=run.pk).state for run in runs}
    assert states == {"completed"}
    assert gateway.gateway.peak_rate <= 50
    for account in accounts:
        assert_at_targets(book, account.account_id)
    assert_runs_are_resolved(book)


def executed(book, symbol, action, at):
    """Add an order by hand that was filled at an instant."""
    instrument = book.stock(symbol)
    order = GatewayOrder(0, 0, 0, DU, instrument, action, Decimal(1), "MKT", None, "DAY", "", status="Submitted")
    book.fill(book.accept(order), Decimal(1), instrument.mark).at = at


def test_executions_without_a_known_time_stop_a_trade_guard_that_counts_them(account, book):
    account.trade_guard = Account.TradeGuard.PDT_LEGACY
    account.save()
    executed(book, "SPY", "BUY", timezone.now())
    book.time_form = "{:%Y%m%d %H:%M:%S}".format
    run = carry_out(account)
    assert (run.state, run.error_code) == ("failed", "execution_times_unusable")
    assert all(order.client_id == 0 for order in book.orders)
    book.time_form = "{:%Y%m%d-%H:%M:%S}".format
    run = carry_out(account)
    assert (run.state, run.error_message) == ("completed", "")


# ---- gateways that do not serve everything


def test_read_only_gateway_makes_previews_and_refuses_executions(account, book, gateway):
    gateway.gateway.is_read_only = True
    run = carry_out(account, ExecCommand.PRINT_REBALANCE)
    assert (run.state, run.error_message) == ("completed", "")
    assert len(run.result["trades"]) == 4
    assert "Turn off Read-Only API" in warnings(run)["open_orders_unavailable"]
    run = carry_out(account)
    assert (run.state, run.error_code) == ("failed", "read_only_api")
    assert (book.orders, run.orders.count()) == ([], 0)


def test_doctor_at_a_read_only_gateway_reports_the_setting_and_nothing_else(account, gateway):
    gateway.gateway.is_read_only = True
    (finding,) = [one for one in examine(["broker"]) if one.status == "problem"]
    assert "read_only_api" in finding.message and "Turn off Read-Only API" in finding.message
    assert "write access" in finding.to_do


@pytest.mark.parametrize(
    ("time_form", "unanswered", "code"),
    [("{:%Y%m%d %H:%M:%S}", (), "execution_times_unusable"), ("", (EXECUTIONS,), "executions_unavailable")],
)
def test_doctor_at_a_gateway_without_usable_executions_names_them(account, book, gateway, time_form, unanswered, code):
    executed(book, "SPY", "BUY", timezone.now())
    book.time_form = time_form.format
    gateway.gateway.unanswered.update(unanswered)
    (finding,) = [one for one in examine(["broker"]) if one.status == "problem"]
    assert code in finding.message and finding.to_do


def test_doctor_at_a_silent_gateway_names_the_gateway_and_no_subscription(account, gateway):
    gateway.gateway.muted = True
    (finding,) = [one for one in examine(["broker"]) if one.status == "problem"]
    assert "broker_silent" in finding.message
    assert "gateway" in finding.to_do


@pytest.mark.parametrize(("regime", "outcome"), [("none", "completed"), ("pdt_legacy", "failed")])
def test_executions_that_never_end_stop_only_executions_that_count_them(account, book, gateway, regime, outcome):
    account.trade_guard = regime
    account.save()
    gateway.gateway.unanswered.add(EXECUTIONS)
    run = carry_out(account, ExecCommand.PRINT_REBALANCE)
    assert (run.state, run.error_message, len(run.result["trades"])) == ("completed", "", 4)
    failed = [guard["code"] for guard in run.guards if not guard["passed"]]
    assert ("trade_guard" in failed) == (regime == "pdt_legacy")
    run = carry_out(account)
    assert run.state == outcome, run.error_message
    if outcome == "failed":
        assert (run.error_code, book.orders) == ("executions_unavailable", [])
    else:
        assert_at_targets(book)


def test_account_shadowed_by_another_client_is_rebalanced(account, book, gateway):
    gateway.gateway.followed = (12, "DU9999999")
    run = carry_out(account)
    assert (run.state, run.error_message) == ("completed", "")
    assert_at_targets(book)
    assert_runs_are_resolved(book)


def test_preview_with_an_order_by_hand_names_it_and_an_execution_is_refused_at_once(account, book, gateway):
    by_hand = GatewayOrder(0, 0, 0, DU, book.stock("VTI"), "SELL", Decimal(1), "LMT", Decimal(900), "DAY", "")
    gateway.do(book.accept, by_hand)
    run = carry_out(account, ExecCommand.PRINT_REBALANCE)
    assert run.state == "completed"
    assert "VTI (in TWS or the broker's app)" in warnings(run)["open_orders_elsewhere"]
    run = carry_out(account)
    assert (run.state, run.error_code) == ("failed", "open_orders_remain")
    assert "VTI (in TWS or the broker's app)" in run.error_message
    assert book.orders == [by_hand]
    assert gateway.gateway.requests["4"] == 0
