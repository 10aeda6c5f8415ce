"""Cash, positions and feasibility, as a real gateway reports them."""

from decimal import Decimal

import pytest

from tests.trading.engine.ibkr_data.conftest import DU, carry_out, codes, message, preview
from trading.engine.report import positions_mismatch

pytestmark = pytest.mark.django_db(transaction=True)


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


def test_cash_rows_that_make_the_data_inconsistent_are_named_in_the_refusal(account, book):
    book.accounts[DU].rows = {("TotalCashBalance", "USD"): "0.00"}
    run = preview(account)
    assert (run.state, run.error_code) == ("refused", "account_data_mismatch")
    assert "TotalCashBalance $0.00" in run.error_message


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
