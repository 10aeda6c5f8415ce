"""Runs over the gateway on loopback: accounts, contracts and quotes as a real gateway reports them."""

import asyncio
from collections.abc import Iterator
from decimal import Decimal
from functools import partial
from typing import Any

import pytest

from accounts.models import Account, RebalancePolicy
from brokers.ibkr.client import InteractiveBrokers
from brokers.ibkr.limits import Limits
from tests.support import makers
from tests.support.ibkr_accounts import assert_runs_are_resolved, gateway_account
from tests.support.ibkr_gateway import AccountRecords, GatewayThread, Kind
from trading.common.timings import Timings
from trading.engine.report import positions_mismatch
from trading.models import ContractChoice, RebalanceRun
from trading.models.run_documents import ExecCommand

pytestmark = pytest.mark.django_db(transaction=True)

DU = "DU1000001"
TIMINGS = Timings(
    reconnect_delay_seconds=0.05,
    cancel_seconds=1.0,
    positions_seconds=1.0,
    order_silence_seconds=0.3,
    quotes_seconds=1.0,
)
carry_out = partial(makers.carry_out, timings=TIMINGS)
preview = partial(makers.carry_out, command=ExecCommand.PRINT_REBALANCE, timings=TIMINGS)


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch, transactional_db: None) -> None:
    RebalancePolicy.objects.get_or_create(is_default=True, defaults={"name": "default"})
    limits = Limits(
        values_lag_seconds=0.1,
        values_retry_seconds=0.05,
        connect_retry_seconds=0.1,
        max_definitions_wait_seconds=0.3,
        definitions_retry_seconds=0.05,
    )
    monkeypatch.setattr(InteractiveBrokers, "limits", limits)


@pytest.fixture
def book() -> AccountRecords:
    """An account with 50,000 USD and 500 SPY at 100 USD."""
    book = AccountRecords()
    for symbol in ("SPY", "IEF", "GLD"):
        book.add_instrument(symbol)
    book.add_account(DU, cash="50000", positions={"SPY": "500"})
    return book


@pytest.fixture
def gateway(book: AccountRecords, settings: Any) -> Iterator[GatewayThread]:
    with GatewayThread(book) as gateway:
        settings.IB_PORT = gateway.port
        yield gateway


@pytest.fixture
def account(gateway: GatewayThread) -> Account:
    return gateway_account(DU, {"SPY": "0.6", "IEF": "0.4"})


def codes(run: RebalanceRun) -> set[str]:
    return {warning["code"] for warning in run.warnings}


def message(run: RebalanceRun, code: str) -> str:
    return " ".join(warning["message"] for warning in run.warnings if warning["code"] == code)


def trades(run: RebalanceRun) -> dict[str, int]:
    return {trade["symbol"]: trade["quantity"] for trade in run.result["trades"]}


# ---- one symbol under two contracts


@pytest.mark.parametrize("smart", [False, True], ids=["not routed", "routed"])
def test_second_contract_of_a_symbol_is_counted_and_neither_matched_nor_sold(book, gateway, smart):
    """10 MSFT at NASDAQ and 90 at EBS, both in USD: a target of 30 % buys at NASDAQ, and never sells the 90."""
    nasdaq = book.add_instrument("MSFT", primary_exchange="NASDAQ")
    ebs = book.add_instrument("MSFT", primary_exchange="EBS", smart=smart)
    book.accounts[DU].positions = {nasdaq.con_id: Decimal(10), ebs.con_id: Decimal(90)}
    book.accounts[DU].cash = book.accounts[DU].lowest_cash = Decimal(10_000)
    run = carry_out(gateway_account(DU, {"MSFT": "0.3", "IEF": "0.7"}))
    assert (run.state, run.error_message) == ("completed", "")
    assert {order.instrument.con_id for order in book.orders} == {nasdaq.con_id, book.stock("IEF").con_id}
    assert book.accounts[DU].positions[ebs.con_id] == 90
    assert 10 < book.accounts[DU].positions[nasdaq.con_id] <= 60
    assert str(ebs.con_id) in message(run, "other_contract_held")
    assert {item["symbol"]: item["reason"] for item in run.result["not_traded"]}[str(ebs.con_id)] == "other_contract"
    assert_runs_are_resolved(book)


def test_position_in_another_contract_only_does_not_count_towards_the_target(book, gateway):
    book.add_instrument("MSFT", primary_exchange="NASDAQ")
    ebs = book.add_instrument("MSFT", primary_exchange="EBS", smart=False)
    book.accounts[DU].positions = {ebs.con_id: Decimal(500)}
    run = preview(gateway_account(DU, {"MSFT": "0.4", "IEF": "0.6"}))
    assert (run.state, run.error_message) == ("completed", "")
    assert 190 <= trades(run)["MSFT"] <= 200


def test_second_contract_that_is_no_target_is_not_sold_with_the_first(book, gateway):
    nasdaq = book.add_instrument("MSFT", primary_exchange="NASDAQ")
    ebs = book.add_instrument("MSFT", primary_exchange="EBS", smart=False)
    book.accounts[DU].positions = {nasdaq.con_id: Decimal(10), ebs.con_id: Decimal(90)}
    run = carry_out(gateway_account(DU, {"IEF": "0.5"}))
    assert (run.state, run.error_message) == ("completed", "")
    assert [(order.instrument.con_id, order.total) for order in book.orders if order.action == "SELL"] == [
        (nasdaq.con_id, 10)
    ]
    assert_runs_are_resolved(book)


# ---- cash


def test_cash_with_a_deposit_sweep_is_the_smaller_amount_and_named(account, book):
    """`CashBalance` counts the swept money twice; the totals do not."""
    book.accounts[DU].cash = Decimal(15_000)
    book.accounts[DU].rows = {("CashBalance", "USD"): "24000.00", ("CashBalance", "BASE"): "24000.00"}
    run = preview(account)
    assert (run.state, run.error_message) == ("completed", "")
    assert run.cash_usd == 15_000
    assert "24,000.00" in message(run, "cash_differs") and "15,000.00" in message(run, "cash_differs")


@pytest.mark.parametrize(
    ("rows", "cash", "warned"),
    [
        ({("TotalCashValue", "USD"): "49000.00"}, 49_000, True),
        ({("TotalCashBalance", "USD"): "49000.00"}, 49_000, True),
        ({("CashBalance", "USD"): ""}, 50_000, False),
        ({("CashBalance", "USD"): "50000.01"}, 50_000, False),
        # The total of all currencies says nothing about the USD when there are others.
        ({("TotalCashValue", "USD"): "49000.00", ("CashBalance", "EUR"): "-909.09"}, 50_000, False),
        ({("TotalCashBalance", "USD"): "50300.00", ("FuturesPNL", "USD"): "300.00"}, 50_000, True),
        (
            {
                ("TotalCashBalance", "USD"): "50300.00",
                ("TotalCashValue", "USD"): "50300.00",
                ("FuturesPNL", "USD"): "300.00",
            },
            50_300,
            False,
        ),
    ],
    ids=["total", "balance", "blank", "rounding", "currencies", "futures and total", "futures"],
)
def test_cash_rows_that_disagree_use_the_smallest(account, book, rows, cash, warned):
    book.accounts[DU].rows = {("ExchangeRate", "EUR"): "1.1", **rows}
    run = preview(account)
    assert (run.state, run.error_message, run.cash_usd) == ("completed", "", cash)
    assert ("cash_differs" in codes(run)) is warned


@pytest.mark.parametrize(
    ("euros", "warned"), [("-0.35", True), ("-500.00", True), ("-0.004", False), ("250.00", False)]
)
def test_debt_in_another_currency_is_counted_and_no_short_position(account, book, euros, warned):
    book.accounts[DU].rows = {
        ("CashBalance", "EUR"): euros,
        ("ExchangeRate", "EUR"): "1.10",
        ("NetLiquidation", "USD"): f"{100_000 + Decimal(euros) * Decimal('1.1'):.2f}",
    }
    run = preview(account)
    assert (run.state, run.error_message) == ("completed", "")
    assert ("currency_debt" in codes(run)) is warned


def test_short_position_of_dust_is_none_and_a_real_one_refuses(account, book):
    stock = book.stock("GLD")
    book.accounts[DU].positions[stock.con_id] = Decimal("-0.0001")
    run = preview(account)
    assert (run.state, run.error_message) == ("completed", "")
    book.accounts[DU].positions[stock.con_id] = Decimal(-1)
    assert preview(account).error_code == "short_position"


# ---- other securities

FUTURE = {"sec_type": "FUT", "multiplier": "5", "expiry": "20261218", "primary_exchange": "CME"}


@pytest.mark.parametrize(
    ("fields", "quantity"),
    [
        (FUTURE, 1),
        ({"sec_type": "CFD", "primary_exchange": "SMART"}, 10),
        ({"sec_type": "CASH", "primary_exchange": "IDEALPRO"}, 20_000),
        ({"sec_type": "CASH", "primary_exchange": "IDEALPRO"}, -20_000),
        ({"sec_type": "FOP", "multiplier": "5", "expiry": "20261218", "strike": "6000", "right": "C"}, 1),
        ({"sec_type": "OPT", "multiplier": "5", "expiry": "20261218", "strike": "6000", "right": "C"}, 1),
        ({"sec_type": "WAR", "multiplier": "5", "expiry": "20261218", "strike": "6000", "right": "C"}, 1),
        ({"sec_type": "BOND", "multiplier": "10"}, 2),
        ({"sec_type": "BILL", "multiplier": "10"}, 2),
        ({"sec_type": "FUND"}, 2),
        ({"sec_type": "CRYPTO", "primary_exchange": "PAXOS"}, Decimal("0.75")),
    ],
    ids=lambda value: value["sec_type"] if isinstance(value, dict) else str(value),
)
def test_security_of_any_type_adds_what_the_broker_counts(account, book, fields, quantity):
    """The mark is 6,000: a future or CFD would add 30,000 or 60,000 to an account of 100,000, and adds nothing."""
    other = book.add_instrument("MES", bid="5999", ask="6001", **fields)
    book.accounts[DU].positions[other.con_id] = Decimal(quantity)
    run = preview(account)
    assert (run.state, run.error_message) == ("completed", "")


# ---- feasibility

UNSET = "1.7976931348623157E308"


@pytest.mark.parametrize(
    ("what_if", "state", "code"),
    [
        (("-100.0", "90000.00", "60000.00"), "completed", ""),
        (("-100.0", UNSET, "60000.00"), "completed", ""),
        (("-100.0", "", ""), "completed", ""),
    ],
    ids=["deficit", "unset", "blank"],
)
def test_sell_in_a_margin_deficit_is_feasible(account, book, gateway, what_if, state, code):
    book.accounts[DU].positions = {book.stock("GLD").con_id: Decimal(500)}
    book.accounts[DU].cash = book.accounts[DU].lowest_cash = Decimal(10)
    book.accounts[DU].what_if = what_if
    run = preview(account)
    assert (run.state, run.error_code) == (state, code)
    assert {guard["code"]: guard["passed"] for guard in run.guards}["sell_not_feasible"]


def test_buy_in_a_margin_deficit_is_not_feasible(account, book, gateway):
    book.accounts[DU].what_if = ("100.0", "90000.00", "60000.00")
    run = carry_out(account)
    assert (run.state, run.error_code) == ("refused", "buy_not_feasible")


# ---- contracts


@pytest.mark.parametrize("foreign", ["LSEETF", "EBS", "PINK"])
def test_symbol_with_one_us_listing_is_traded_there(book, gateway, foreign):
    book.add_instrument("KWEB", bid="19", ask="19.01", primary_exchange=foreign)
    us = book.add_instrument("KWEB", bid="30", ask="30.01", primary_exchange="ARCA")
    run = carry_out(gateway_account(DU, {"SPY": "0.5", "KWEB": "0.4"}))
    assert (run.state, run.error_message) == ("completed", "")
    assert {order.instrument.con_id for order in book.orders if order.instrument.symbol == "KWEB"} == {us.con_id}
    assert_runs_are_resolved(book)


def test_symbol_with_two_us_listings_is_refused_by_name_until_a_user_chooses(book, gateway):
    first, second = (book.add_instrument("KWEB", primary_exchange=exchange) for exchange in ("ARCA", "BATS"))
    account = gateway_account(DU, {"SPY": "0.5", "KWEB": "0.4"})
    run = carry_out(account)
    assert (run.state, run.error_code) == ("refused", "unknown_symbol")
    assert f"{first.con_id} on ARCA, {second.con_id} on BATS" in run.error_message
    choice = ContractChoice.objects.create(broker="ibkr", symbol="KWEB", contract_id=str(second.con_id))
    assert carry_out(account).state == "completed"
    assert {order.instrument.con_id for order in book.orders if order.instrument.symbol == "KWEB"} == {second.con_id}
    choice.delete()
    assert preview(account).error_code == "unknown_symbol", "the contract of the day is not used without the choice"


def test_position_in_the_contract_that_was_not_chosen_is_not_sold(book, gateway):
    first, second = (book.add_instrument("KWEB", primary_exchange=exchange) for exchange in ("ARCA", "BATS"))
    ContractChoice.objects.create(broker="ibkr", symbol="KWEB", contract_id=str(second.con_id))
    book.accounts[DU].positions = {first.con_id: Decimal(100), second.con_id: Decimal(50)}
    run = preview(gateway_account(DU, {"SPY": "0.5"}))
    assert (run.state, run.error_message) == ("completed", "")
    assert trades(run)["KWEB"] == -50
    assert "other_contract_held" in codes(run)


@pytest.mark.parametrize(("symbol", "hint"), [("BRK-B", "BRK.B"), ("NOSUCH", "no contract")])
def test_symbol_that_is_unknown_is_refused_with_the_reason(book, gateway, symbol, hint):
    book.add_instrument("BRK B", primary_exchange="NYSE")
    run = preview(gateway_account(DU, {"SPY": "0.5", symbol: "0.4"}))
    assert (run.state, run.error_code) == ("refused", "unknown_symbol")
    assert f"{symbol} (" in run.error_message and hint in run.error_message


@pytest.mark.parametrize("announced", [True, False])
def test_security_definitions_that_return_within_seconds_do_not_refuse_a_symbol(account, gateway, announced):
    gateway.do(partial(gateway.gateway.lose_definitions, announced=announced))
    gateway.do(lambda: asyncio.get_running_loop().call_later(0.6, gateway.gateway.restore_definitions))
    run = preview(account)
    assert (run.state, run.error_message) == ("completed", "")


def test_security_definitions_that_stay_away_fail_the_run_as_a_connection_problem(account, gateway):
    gateway.do(gateway.gateway.lose_definitions)
    run = carry_out(account)
    assert (run.state, run.error_code) == ("failed", "broker_silent")


# ---- quotes


@pytest.mark.parametrize(
    ("kind", "fields", "detail"),
    [
        (Kind.QUOTE_ERROR, {"code": 354}, "IBKR 354"),
        (Kind.QUOTE_ERROR, {"code": 10089}, "IBKR 10089"),
        (Kind.QUOTE_ERROR, {"code": 10197}, "IBKR 10197"),
        (Kind.DELAYED_QUOTE, {}, "IBKR 10167"),
        (Kind.EMPTY_QUOTE, {}, "neither bid nor ask"),
        (Kind.ONE_SIDED_QUOTE, {}, "no valid bid and ask"),
        (Kind.WIDE_QUOTE, {}, "spread of IEF is"),
        (Kind.FARM_LOST, {}, "IBKR 2103"),
    ],
)
def test_plan_without_a_quote_is_refused_with_the_reason_of_the_symbol(account, gateway, kind, fields, detail):
    gateway.fault(kind, symbol="IEF", **fields)
    run = preview(account)
    assert (run.state, run.error_code) == ("refused", "too_much_frozen")
    assert "IEF" in run.error_message and detail in run.error_message
    assert "market is open" not in run.error_message


def test_share_of_the_account_without_quotes_never_exceeds_all_of_it(book, gateway):
    """All of the account is in GLD, which is no target, and the targets have no quotes either."""
    book.accounts[DU].positions = {book.stock("GLD").con_id: Decimal(1000)}
    book.accounts[DU].cash = book.accounts[DU].lowest_cash = Decimal(10)
    for symbol in ("GLD", "IEF"):
        gateway.fault(Kind.EMPTY_QUOTE, symbol=symbol)
    run = preview(gateway_account(DU, {"SPY": "0.1", "IEF": "0.9"}))
    assert run.error_code == "too_much_frozen"
    assert run.error_message.startswith("100.0 %")


def test_position_without_a_contract_is_frozen_with_the_reason(account, book):
    """A delisted stock is still held, and the broker finds no contract for it any more."""
    gone = book.add_instrument("GONE", smart=False)
    book.accounts[DU].positions[gone.con_id] = Decimal(1)
    run = preview(account)
    assert (run.state, run.error_message) == ("completed", "")
    assert "GONE" in message(run, "quote_missing") and "no contract" in message(run, "quote_missing")
    assert "GONE" not in trades(run)


@pytest.mark.parametrize("status", [1, 2])
def test_halted_symbol_is_not_traded_and_named(book, gateway, status):
    book.stock("GLD").halted = status
    run = carry_out(gateway_account(DU, {"SPY": "0.5", "IEF": "0.45", "GLD": "0.05"}))
    assert (run.state, run.error_message) == ("completed", "")
    assert "GLD" in message(run, "symbol_halted")
    assert {order.instrument.symbol for order in book.orders} == {"IEF"}


def test_position_without_a_row_of_the_broker_is_valued_at_its_quote(account, book):
    book.accounts[DU].without_row = {book.stock("SPY").con_id}
    run = preview(account)
    assert (run.state, run.error_message) == ("completed", "")


def test_position_without_a_row_and_a_quote_is_named(account, book, gateway):
    book.accounts[DU].without_row = {book.stock("SPY").con_id}
    gateway.fault(Kind.MISSING_QUOTE, symbol="SPY")
    run = preview(account)
    assert (run.state, run.error_code) == ("refused", "account_datapositions_mismatch")
    assert "SPY" in run.error_message


# ---- positions after the orders


def test_positions_that_lag_behind_our_fills_are_named_as_late(account, book):
    book.accounts[DU].quiet_positions = True
    run = carry_out(account)
    assert (run.state, run.error_code) == ("needs_attention", "positions_late")
    assert "IEF" in run.error_message and "another client" not in run.error_message


@pytest.mark.parametrize(
    ("held", "expected", "reported", "code"),
    [
        ({"A": 5}, {"A": 2}, {"A": 5}, "positions_late"),
        ({"A": 5}, {"A": 2}, {"A": 3}, "positions_late"),
        ({"A": 5}, {}, {"A": 5}, "positions_late"),
        ({}, {"A": 5, "B": 2}, {"A": 5}, "positions_late"),
        ({"A": 5}, {"A": 2}, {"A": 1}, "positions_disagree"),
        ({"A": 5}, {"A": 2}, {"A": 6}, "positions_disagree"),
        ({"A": 5}, {"A": 2}, {"A": 5, "B": 1}, "positions_disagree"),
        ({"A": 5, "B": 1}, {"A": 2, "B": 1}, {"A": 5}, "positions_disagree"),
    ],
)
def test_positions_within_our_fills_are_late_and_others_disagree(held, expected, reported, code):
    shares = [{symbol: Decimal(quantity) for symbol, quantity in one.items()} for one in (held, expected, reported)]
    assert positions_mismatch(*shares).code == code
