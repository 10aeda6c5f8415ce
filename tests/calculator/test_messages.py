"""Refusals and reasons name the real cause, and never repeat text of any length."""

import json
from decimal import Decimal

import pytest

from calculator import (
    AccountState,
    AllocationItem,
    CalculationRefused,
    Position,
    ReplacementLimits,
    ReplacementRule,
    apply_replacements,
)
from calculator.json_lines import answer_plan
from tests.calculator.makers import account, plan, quote, reasons, targets, traded
from tests.calculator.test_json_lines import REQUEST

A, B = quote("A", "100"), quote("B", "50")
LONG = "X" * 900_000


def refused(*arguments, **policy):
    with pytest.raises(CalculationRefused) as caught:
        plan(*arguments, **policy)
    return caught.value


def answered(**changes):
    return json.loads(answer_plan(json.dumps(REQUEST | changes)))


@pytest.mark.parametrize(("bid", "tick", "sold"), [("0.01", "0.01", -10_000), ("0.0001", "0.0001", -10_000)])
def test_bid_of_one_tick_is_a_valid_quote(bid, tick, sold):
    """The sell limit below it would round to zero; it is one tick, at which the bid fills."""
    state = account("10000", ("B", "10000", bid))
    result = plan(state, targets(A="1"), [A, quote("B", bid, tick_usd=Decimal(tick))], sell_slippage_percent="0.5")
    assert traded(result)["B"] == sold
    assert {trade.symbol: trade.price for trade in result.trades}["B"] == Decimal(tick)


def test_bid_below_one_tick_is_not_called_a_closed_market():
    state = account("100", ("B", "100000", "0.004"))
    error = refused(state, targets(A="0.2", B="0.8"), [A, quote("B", "0.004", "0.006")])
    assert error.code == "too_much_frozen"
    assert "below the smallest price step: B" in error.message
    assert "market is open" not in error.message


def unmarked(symbol, quantity):
    return Position(symbol=symbol, quantity=Decimal(quantity))


def test_position_without_a_mark_counts_with_the_mid_of_its_quote():
    state = AccountState(total_value_usd=Decimal(10000), cash_usd=Decimal(4000), positions=(unmarked("A", 60),))
    result = plan(state, targets(A="1"), [quote("A", "99.98", "100.02")])
    assert traded(result) == {"A": 39}


def test_ignored_position_without_a_mark_is_outside_the_account_with_the_mid_of_its_quote():
    state = AccountState(total_value_usd=Decimal(10000), cash_usd=Decimal(4000), positions=(unmarked("A", 60),))
    result = plan(state, targets(B="1"), [A, B], unmanaged="ignore")
    assert result.plan.total_value_usd == 4000
    assert traded(result) == {"B": 80}


def test_mark_of_zero_is_not_replaced_by_the_quote():
    rows = (Position(symbol="A", quantity=Decimal(60), market_price=Decimal(0)),)
    state = AccountState(total_value_usd=Decimal(4000), cash_usd=Decimal(4000), positions=rows)
    assert plan(state, targets(B="0.5"), [B]).before.cash == 4000


def test_position_without_a_mark_and_without_a_quote_is_named():
    state = AccountState(total_value_usd=Decimal(10000), cash_usd=Decimal(4000), positions=(unmarked("A", 60),))
    error = refused(state, targets(B="1"), [B])
    assert error.code == "account_data_mismatch"
    assert "no valid quote: A" in error.message
    assert "stale" not in error.message


def test_position_that_adds_nothing_is_not_named_as_one_without_a_price():
    """A future has a mark of zero: its profit and loss is part of cash."""
    state = AccountState(
        total_value_usd=Decimal(2000),
        cash_usd=Decimal(1000),
        positions=(Position(symbol="MESZ6", quantity=Decimal(1), market_price=Decimal(0), tradable=False),),
    )
    error = refused(state, targets(A="1"), [A])
    assert error.code == "account_data_mismatch"
    assert "MESZ6" not in error.message


@pytest.mark.parametrize(("sum_told", "is_percent"), [("100", True), ("60", True), ("1.3", False), ("1.001", False)])
def test_weights_far_above_one_look_like_percent(sum_told, is_percent):
    error = refused(account("10000"), targets(A=Decimal(sum_told) / 2, B=Decimal(sum_told) / 2), [A, B])
    assert error.code == "weights_above_one"
    assert (f"{sum_told} looks like percent" in error.message) is is_percent


@pytest.mark.parametrize(("scale", "advice"), [("0.5", "Raise the scales"), ("1.5", "Lower the scales")])
def test_replacing_every_symbol_advises_the_right_way_to_change_the_scales(scale, advice):
    items = [AllocationItem(symbol="A", weight=Decimal("0.6")), AllocationItem(symbol="B", weight=Decimal("0.4"))]
    rules = [ReplacementRule(source=s, target=f"{s}2", scale=Decimal(scale)) for s in "AB"]
    with pytest.raises(CalculationRefused) as caught:
        apply_replacements(items, rules, ReplacementLimits())
    assert caught.value.code == "replacement_no_room"
    assert advice in caught.value.message


@pytest.mark.parametrize(
    ("state", "wanted", "quotes"),
    [
        (account("1000"), [AllocationItem(symbol=LONG, weight=Decimal(1))] * 2, [A]),
        (account("1000"), [AllocationItem(symbol=LONG, weight=Decimal(-1))], [A]),
        (account("1000"), [AllocationItem(symbol=LONG, weight=Decimal(1))], [A]),
        (account("1000"), targets(A="1"), [quote(LONG, "1")] * 2),
        (account("1000", (LONG, "-1", "50")), targets(A="1"), [A]),
        (account("1000"), [AllocationItem(symbol=f"S{i:04d}", weight=Decimal("-0.1")) for i in range(3000)], [A]),
        (account("-1." + "3" * 390, total="-1." + "3" * 390), targets(A="1"), [A]),
        (account("1000"), [AllocationItem(symbol="A", weight=Decimal("1." + "3" * 390))], [A]),
    ],
    ids=["duplicate", "negative", "frozen", "quotes", "short", "many", "digits of the value", "digits of a weight"],
)
def test_refusals_are_short_whatever_the_symbols(state, wanted, quotes):
    assert len(refused(state, wanted, quotes).message) < 1100


def test_warnings_are_short_whatever_the_symbol():
    wanted = [*targets(A="0.95"), AllocationItem(symbol=LONG, weight=Decimal("0.05"))]
    result = plan(account("10000"), wanted, [A])
    assert reasons(result)[LONG] == "no_valid_quote"
    assert all(len(warning.message) < 400 for warning in result.warnings)


def test_invalid_weight_among_many_is_named_by_its_symbol():
    rows = [{"symbol": f"S{i:03d}", "weight": "0.003"} for i in range(300)]
    rows[217]["weight"] = "NaN"
    error = answered(targets=rows)["error"]
    assert error["code"] == "invalid_input"
    assert "S217" in error["message"]


@pytest.mark.parametrize(
    "changes",
    [
        {LONG: 1},
        {"targets": [{"symbol": LONG, "weight": "NaN"}]},
        {"account": {"total_value": "1" * 5000, "cash": "1"}},
        {"account": {"total_value": LONG, "cash": "1"}},
    ],
    ids=["unknown field", "symbol", "number", "text"],
)
def test_messages_about_invalid_lines_are_short(changes):
    error = answered(**changes)["error"]
    assert error["code"] == "invalid_input"
    assert len(error["message"]) < 400
