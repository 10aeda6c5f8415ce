"""Runs over the gateway on loopback: each way in which it has cost somebody money ends well, or with a person."""

import asyncio
from decimal import Decimal

import pytest
from django.db import OperationalError
from django.utils import timezone

from brokers.exchange_calendar import NEW_YORK
from brokers.ibkr.client import InteractiveBrokers
from brokers.ibkr.limits import Limits
from tests.support.ibkr_accounts import SHORT, assert_orders_are_safe, assert_runs_are_resolved, gateway_account
from tests.support.ibkr_gateway import AccountRecords, GatewayOrder, GatewayThread, Kind, messages
from tests.support.ibkr_gateway.order_handler import OrderHandler
from tests.support.ibkr_gateway.responses import Responses
from tests.support.makers import carry_out, policy, queue
from trading.engine.connection import SlotConnection
from trading.engine.slot_worker import work_slot
from trading.models import AccountStanding, RebalanceRun
from trading.models.run_documents import ExecCommand

pytestmark = pytest.mark.django_db(transaction=True)

DU = "DU1000001"
TARGETS = {"SPY": "0.5", "IEF": "0.3", "GLD": "0.2"}


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch, transactional_db):
    from accounts.models import RebalancePolicy

    RebalancePolicy.objects.get_or_create(is_default=True, defaults={"name": "default"})
    monkeypatch.setattr("trading.engine.run_supervisor.BACK_OFF_SECONDS", 0.05)
    monkeypatch.setattr("trading.engine.rebalance.CANCEL_SECONDS", 1.0)
    monkeypatch.setattr("trading.engine.rebalance.POSITIONS_AGREE_SECONDS", 2.0)
    monkeypatch.setattr("trading.orders.execution.QUIET_SECONDS", 0.3)
    monkeypatch.setattr("trading.engine.connection.QUOTE_SECONDS", 10)
    limits = Limits(values_lag_seconds=0.1, values_retry_seconds=0.05, connect_retry_seconds=0.1)
    monkeypatch.setattr(InteractiveBrokers, "limits", limits)


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
    """Another login: it manages these accounts and no others."""
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


def test_a_run_sells_then_buys_and_ends_at_its_targets(account, book):
    run = carry_out(account)
    assert (run.state, run.error_message) == ("completed", "")
    assert_at_targets(book)
    assert_runs_are_resolved(book)
    assert Decimal(run.report["residual_drift_after"]) < Decimal("0.01")
    sides = [order.action for order in book.orders]
    assert sides == sorted(sides, reverse=True), "every sell before the first buy"


def test_a_preview_sends_nothing(account, book, gateway):
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
def test_an_order_that_goes_astray_is_found_or_proven_lost_and_the_run_completes(account, book, gateway, kind, symbol):
    gateway.fault(kind, symbol=symbol)
    run = carry_out(account)
    assert (run.state, run.error_message) == ("completed", "")
    assert_at_targets(book)
    assert_runs_are_resolved(book)


@pytest.mark.parametrize("kind", [Kind.REJECT, Kind.REJECT_STATUS_FIRST])
def test_a_rejection_is_told_in_the_brokers_words_and_the_others_go_on(account, book, gateway, kind):
    gateway.fault(kind, symbol="IEF", message="Order rejected - reason: no trading permission")
    run = carry_out(account)
    assert run.state == "completed", run.error_message
    assert "no trading permission" in warnings(run)["order_rejected"]
    assert book.shares(DU, "GLD") > 0 and book.shares(DU, "IEF") == 0
    assert_runs_are_resolved(book)


@pytest.mark.parametrize("code", [110, 321, 434, 10243])
def test_an_error_that_refuses_the_order_ends_it_at_once(account, book, gateway, code):
    gateway.fault(Kind.ORDER_ERROR, symbol="IEF", code=code, message="These are the words.")
    run = carry_out(account)
    assert run.state == "completed", run.error_message
    assert f"IBKR {code}: These are the words." in warnings(run)["order_rejected"]
    assert_runs_are_resolved(book)


@pytest.mark.parametrize("code", [399, 10349])
def test_a_remark_about_an_order_leaves_it_alive(account, book, gateway, code):
    gateway.fault(Kind.ORDER_WARNING, symbol="IEF", code=code)
    run = carry_out(account)
    assert run.state == "completed", run.error_message
    assert_at_targets(book)
    assert_runs_are_resolved(book)


def test_a_partial_fill_is_cancelled_at_its_deadline_and_buys_are_cut_to_the_cash(account, book, gateway):
    gateway.fault(Kind.PARTIAL, symbol="VTI", share=0.5)
    run = carry_out(account)
    assert run.state == "completed", run.error_message
    assert {"order_not_filled"} <= set(warnings(run))
    assert book.shares(DU, "VTI") == 200
    assert_runs_are_resolved(book)


def test_a_fill_that_overtakes_the_cancel_is_counted(account, book, gateway):
    gateway.fault(Kind.NO_FILL, symbol="VTI")
    gateway.fault(Kind.FILL_DURING_CANCEL, symbol="VTI")
    run = carry_out(account)
    assert run.state == "completed", run.error_message
    assert_at_targets(book)
    assert_runs_are_resolved(book)


def test_a_cancel_that_is_not_confirmed_needs_a_person_and_blocks_the_account(account, book, gateway):
    gateway.fault(Kind.NO_FILL, symbol="VTI")
    gateway.fault(Kind.CANCEL_IGNORED, symbol="VTI", times=9)
    run = carry_out(account)
    assert (run.state, run.error_code) == ("needs_attention", "orders_unknown")
    assert_orders_are_safe(book)
    assert all(order.action == "SELL" for order in book.orders)
    again = carry_out(account)
    assert again.state in {"refused", "needs_attention"}
    assert_orders_are_safe(book)


def test_open_orders_of_ours_are_cancelled_and_those_of_others_stop_the_run(account, book, gateway):
    first = carry_out(account)
    assert first.state == "completed"
    stranger = book.orders[0]
    stranger.client_id, stranger.status, stranger.ref = 0, "Submitted", "by-hand"
    stranger.fills.clear()
    book.accounts[DU].positions[book.stock("VTI").con_id] = Decimal(100)
    run = carry_out(account)
    assert (run.state, run.error_code) == ("failed", "open_orders_remain")
    assert "VTI" in run.error_message
    assert_orders_are_safe(book)


def test_an_open_order_that_is_filled_bit_by_bit_is_cancelled_and_the_account_planned_from_what_it_has_left(
    account, book, gateway, monkeypatch
):
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

    def and_another_share_is_filled(responses, *, own):
        open_orders(responses, own=own)
        if order.is_open and not own:
            gateway.gateway.order_handler.send_fill(order, book.fill(order, Decimal(1), order.limit))

    monkeypatch.setattr(Responses, "open_orders", and_another_share_is_filled)
    gateway.do(book.accept, order)
    gateway.gateway.next_order_id = 2
    run = carry_out(account)
    assert (run.state, run.error_message) == ("completed", "")
    assert order.status == "Cancelled"
    assert_at_targets(book)
    assert_runs_are_resolved(book)


def test_values_that_lag_behind_the_fills_do_not_mislead_the_next_run(book, settings):
    with GatewayThread(book, values_lag_seconds=1.0) as gateway:
        settings.IB_PORT = gateway.port
        account = gateway_account(DU, TARGETS)
        first, second = carry_out(account), carry_out(account)
    assert (first.state, second.state) == ("completed", "completed"), (first.error_message, second.error_message)
    assert Decimal(first.report["cash_usd"]) == book.accounts[DU].cash
    assert second.result["trades"] == []
    assert_runs_are_resolved(book)


@pytest.mark.parametrize(
    ("kind", "fields", "code", "words"),
    [
        (Kind.EMPTY_QUOTE, {}, "quote_crossed", "no valid bid and ask"),
        (Kind.ONE_SIDED_QUOTE, {}, "quote_crossed", "no valid bid and ask"),
        (Kind.CROSSED_QUOTE, {}, "quote_crossed", "no valid bid and ask"),
        (Kind.MISSING_QUOTE, {}, "quote_missing", "no quote"),
        (Kind.DELAYED_QUOTE, {}, "quote_delayed", "IBKR 10167"),
        (Kind.QUOTE_ERROR, {"code": 354}, "quote_missing", "not subscribed"),
        (Kind.QUOTE_ERROR, {"code": 10089}, "quote_missing", "subscription"),
        (Kind.QUOTE_ERROR, {"code": 10197}, "quote_missing", "competing session"),
    ],
)
def test_a_symbol_without_a_live_two_sided_quote_is_not_traded(book, gateway, monkeypatch, kind, fields, code, words):
    monkeypatch.setattr("trading.engine.connection.QUOTE_SECONDS", 1.0)
    account = gateway_account(DU, {"SPY": "0.6", "IEF": "0.35", "GLD": "0.05"})
    gateway.fault(kind, symbol="GLD", **fields)
    run = carry_out(account)
    assert run.state == "completed", run.error_message
    assert words in warnings(run)[code]
    assert {order.instrument.symbol for order in book.orders} == {"SPY", "IEF", "VTI"}
    assert_runs_are_resolved(book)


def test_a_position_that_alone_may_not_be_quoted_is_left_alone_and_the_others_are_traded(account, book, gateway):
    book.accounts[DU].positions = {book.stock("VTI").con_id: Decimal(1)}
    gateway.fault(Kind.QUOTE_ERROR, symbol="VTI", code=354)
    run = carry_out(account)
    assert run.state == "completed", run.error_message
    assert "not subscribed" in warnings(run)["quote_missing"]
    assert {order.instrument.symbol for order in book.orders} == set(TARGETS)
    assert_runs_are_resolved(book)


def test_what_was_held_before_and_cannot_be_looked_up_any_more_is_not_needed(account, book, gateway, monkeypatch):
    AccountStanding.objects.create(
        account=account,
        seen_at=timezone.now(),
        total_value_usd=1,
        cash_usd=0,
        weights=[["GONE", "0.9"], ["SPY", "0.1"]],
    )
    contract_details = Responses.contract_details

    def but_not_that_one(responses, request_id, asked):
        if asked.symbol == "GONE":
            responses._send(messages.error(request_id, 321, "Error validating request."))
        else:
            contract_details(responses, request_id, asked)

    monkeypatch.setattr(Responses, "contract_details", but_not_that_one)
    run = carry_out(account)
    assert (run.state, run.error_message) == ("completed", "")
    assert_at_targets(book)
    assert_runs_are_resolved(book)


def test_a_symbol_whose_exchange_is_closed_today_is_left_alone_by_name(book, gateway, monkeypatch):
    monkeypatch.setattr("trading.engine.rebalance.never_closes", lambda _: False)
    book.stock("GLD").hours = f"{timezone.now().astimezone(NEW_YORK):%Y%m%d}:CLOSED"
    run = carry_out(gateway_account(DU, {"SPY": "0.6", "IEF": "0.35", "GLD": "0.05"}))
    assert run.state == "completed", run.error_message
    assert "the exchange of GLD is closed" in warnings(run)["exchange_closed"]
    assert {order.instrument.symbol for order in book.orders} == {"SPY", "IEF", "VTI"}
    assert_runs_are_resolved(book)


def test_no_quote_for_anything_fails_with_the_brokers_reason(account, book, gateway):
    gateway.fault(Kind.QUOTE_ERROR, code=10197, times=99)
    run = carry_out(account)
    assert (run.state, run.error_code) == ("failed", "market_data_unavailable")
    assert "competing session" in run.error_message
    assert book.orders == []


def test_delayed_quotes_are_traded_on_where_the_policy_allows_it(book, gateway):
    account = gateway_account(DU, TARGETS, policy=policy("delayed", **SHORT, allow_delayed_quotes=True))
    gateway.fault(Kind.DELAYED_QUOTE, times=9)
    run = carry_out(account)
    assert run.state == "completed", run.error_message
    assert_at_targets(book)


def test_a_restart_in_mid_run_loses_nothing_and_sends_nothing_twice(account, book, gateway):
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


def test_a_commission_that_the_link_took_along_when_it_broke_is_asked_for(account, book, gateway, monkeypatch):
    send_fill = OrderHandler.send_fill

    def and_break_before_its_commission(handler, order, fill):
        commission, fill.commission = fill.commission, None
        send_fill(handler, order, fill)
        fill.commission = commission
        if order.instrument.symbol == "VTI":
            gateway.gateway.drop_all()
        else:
            handler.send(order, messages.commission_report(fill))

    monkeypatch.setattr(OrderHandler, "send_fill", and_break_before_its_commission)
    run = carry_out(account)
    assert (run.state, run.error_message) == ("completed", "")
    assert_at_targets(book)
    assert_runs_are_resolved(book)


@pytest.mark.parametrize("code", [1101, 1102])
def test_a_gateway_that_is_cut_off_for_a_moment_is_waited_for(account, book, gateway, code):
    async def cut():
        gateway.gateway.lose_broker()
        await asyncio.sleep(0.5)
        gateway.gateway.restore_broker(code)

    gateway.when_accepted("VTI", cut)
    run = carry_out(account)
    assert (run.state, run.error_message) == ("completed", "")
    assert_at_targets(book)
    assert_runs_are_resolved(book)


def test_a_gateway_that_is_cut_off_when_the_run_comes_is_asked_again(account, book, gateway, monkeypatch):
    gateway.do(gateway.gateway.lose_broker)
    drop = SlotConnection.drop

    async def while_it_comes_back(link):
        await asyncio.to_thread(gateway.do, gateway.gateway.restore_broker)
        await drop(link)

    monkeypatch.setattr(SlotConnection, "drop", while_it_comes_back)
    run = carry_out(account)
    assert (run.state, run.error_message) == ("completed", "")
    assert_at_targets(book)
    assert_runs_are_resolved(book)


def test_a_gateway_that_stays_cut_off_leaves_the_run_waiting_and_then_to_a_person(account, book, gateway, monkeypatch):
    async def cut():
        gateway.gateway.lose_broker()

    gateway.when_accepted("VTI", cut)
    run = carry_out(account)
    assert run.state == "running"
    assert_orders_are_safe(book)
    monkeypatch.setattr("trading.engine.run_supervisor.PATIENCE_SECONDS", -1)
    work_slot(run.connection_id)
    run.refresh_from_db()
    assert (run.state, run.error_code) == ("needs_attention", "broker_silent")
    assert_orders_are_safe(book)


def test_a_drop_after_which_the_gateway_holds_the_client_id_is_retried_with_the_same_id(book, settings):
    with GatewayThread(book, hold_id_seconds=0.5) as gateway:
        settings.IB_PORT = gateway.port
        account = gateway_account(DU, TARGETS)
        gateway.fault(Kind.DROP_AFTER, symbol="VTI")
        run = carry_out(account)
        assert (run.state, run.error_message) == ("completed", "")
        assert {order.client_id for order in book.orders} == {account.connection.client_id}
    assert_at_targets(book)
    assert_runs_are_resolved(book)


def test_a_client_id_that_is_taken_is_waited_for_and_then_needs_a_person(account, book, gateway, monkeypatch):
    gateway.do(gateway.gateway.sessions.__setitem__, account.connection.client_id, object())
    run = carry_out(account)
    assert run.state in {"queued", "running"}
    monkeypatch.setattr("trading.engine.run_supervisor.PATIENCE_SECONDS", -1)
    work_slot(run.connection_id)
    run.refresh_from_db()
    assert (run.state, run.error_code) == ("needs_attention", "client_id_in_use")
    assert f"Client id {account.connection.client_id} is in use" in run.error_message
    gateway.do(gateway.gateway.sessions.clear)
    assert book.orders == []


def test_a_link_is_closed_when_it_cannot_be_noted_that_its_client_id_is_free_again(account, gateway, monkeypatch):
    account.connection.in_use_since = timezone.now()
    account.connection.save()

    def fail(*_, **__):
        raise OperationalError

    with monkeypatch.context() as broken:
        broken.setattr("trading.engine.connection.record_client_id_in_use", fail)
        run = carry_out(account)
    assert run.state == "running"
    assert gateway.do(gateway.gateway.sessions.copy) == {}
    work_slot(run.connection_id)
    run.refresh_from_db()
    assert run.state == "completed"


def test_what_has_the_symbol_of_a_stock_and_is_none_is_carried_and_never_sold(account, book):
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


def test_a_short_option_refuses_the_plan(account, book):
    option = book.add_instrument("SPY", bid="1.99", ask="2.01", sec_type="OPT", multiplier="100", right="C")
    book.accounts[DU].positions[option.con_id] = Decimal(-1)
    run = carry_out(account)
    assert (run.state, run.error_code) == ("refused", "short_position")
    assert book.orders == []


@pytest.mark.parametrize(
    ("setup", "code", "words"),
    [
        (lambda gateway: gateway.fault(Kind.NO_VALUE), "incomplete_account_data", "NetLiquidation"),
        (lambda gateway: gateway.fault(Kind.NO_POSITIONS_END, times=9), "broker_silent", "positions"),
        (lambda gateway: gateway.do(setattr, gateway.gateway, "muted", True), "broker_silent", "did not respond"),
        (lambda gateway: gateway.wait(gateway.gateway.stop()), "broker_unreachable", "No gateway responds"),
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
def test_a_gateway_that_cannot_be_trusted_sends_nothing_and_says_why(book, gateway, setup, code, words):
    account = gateway_account(DU, TARGETS, policy=policy("brief", **SHORT | {"connection_timeout_seconds": Decimal(1)}))
    setup(gateway)
    run = carry_out(account)
    assert (run.state, run.error_code) == ("failed", code)
    assert words in run.error_message
    assert book.orders == []


def test_a_live_account_behind_a_paper_gateway_is_not_even_connected(book, gateway, settings):
    settings.TRADING_MODE = "live"
    settings.ALLOW_LIVE_TRADING = True
    account = gateway_account("U1000001", TARGETS, type="live", live_armed=True)
    run = carry_out(account)
    assert (run.state, run.error_code) == ("failed", "wrong_environment")
    assert book.orders == []


def test_an_account_in_another_base_currency_is_refused_by_name(account, book):
    book.accounts[DU].base_currency = "EUR"
    run = carry_out(account)
    assert (run.state, run.error_code) == ("failed", "incomplete_account_data")
    assert "EUR" in run.error_message
    assert book.orders == []


@pytest.mark.parametrize(("symbol", "code"), [("IEF", "buy_not_feasible"), ("VTI", "sell_not_feasible")])
def test_an_order_that_the_broker_would_not_take_stops_the_run_before_the_first_sell(
    account, book, gateway, symbol, code
):
    book.accounts[DU].cash = book.accounts[DU].lowest_cash = Decimal(20_000)
    gateway.do(gateway.gateway.script.add, Kind.REJECT_WHAT_IF, symbol=symbol, message="MARGIN EXCEEDED")
    run = carry_out(account)
    assert (run.state, run.error_code) == ("refused", code)
    assert "MARGIN EXCEEDED" in run.error_message
    assert book.orders == []


def test_orders_like_those_that_were_filled_lately_are_not_asked_about_but_the_largest_buy_is(account, book, gateway):
    assert carry_out(account).state == "completed"
    stock = book.stock("VTI")
    book.accounts[DU].positions[stock.con_id], book.accounts[DU].cash = Decimal(100), Decimal(20_000)
    before = len(gateway.gateway.order_handler.what_ifs)
    again = carry_out(account)
    assert again.state == "completed", again.error_message
    (asked,) = gateway.gateway.order_handler.what_ifs[before:]
    assert (asked.action, asked.instrument.symbol) == ("BUY", "SPY")


def test_a_large_event_is_spread_over_slots_and_keeps_to_the_pace(book, gateway):
    accounts = []
    for number in range(2, 13):
        book.add_account(f"DU10000{number:02}", cash="1000", positions={"VTI": "400", "SPY": "100"})
        accounts.append(gateway_account(f"DU10000{number:02}", TARGETS))
    slots = [account.connection_id for account in accounts]
    assert sorted(slots.count(slot) for slot in set(slots)) == [2, 3, 3, 3]
    runs = [queue(account) for account in accounts]
    for slot in sorted(set(slots)):
        assert work_slot(slot)
    states = {RebalanceRun.objects.get(pk=run.pk).state for run in runs}
    assert states == {"completed"}
    assert gateway.gateway.peak_rate <= 50
    for account in accounts:
        assert_at_targets(book, account.account_id)
    assert_runs_are_resolved(book)
