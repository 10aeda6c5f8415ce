"""Runs over the gateway on loopback: accounts, contracts and quotes as a real gateway reports them."""

from collections.abc import Iterator
from dataclasses import replace
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
from trading.models import RebalanceRun
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
