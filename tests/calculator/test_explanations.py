"""Reasons are true: they follow from the shares before and after the trade."""

from decimal import Decimal
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from calculator import CalculationRefused, TradeCalculator
from tests.calculator.makers import account, charged, drawn_account, plan, quote, reasons, targets, traded


class Drift(NamedTuple):
    """Drifts before and after the plan in USD, and the signed shares traded, of one target; `slack` is for rounding."""

    before: Decimal
    after: Decimal
    moved: int
    half_share: Decimal
    slack: Decimal


TRUE = {
    "overweight": lambda d: d.before > 0 > d.moved and abs(d.after) <= abs(d.before) + d.slack,
    "makes_room": lambda d: d.moved < 0 and abs(d.after) >= abs(d.before) - d.slack,
    "underweight": lambda d: d.before < 0 < d.moved,
    "one_share": lambda d: d.moved == 1,
    "at_target": lambda d: abs(d.before) <= d.half_share + d.slack,
    "last_share": lambda d: d.before >= d.half_share - d.slack,
    "would_overshoot": lambda d: d.before <= d.slack - d.half_share,
    "not_enough_cash": lambda d: d.before <= d.slack - d.half_share,
    "cost_exceeds_gain": lambda d: abs(d.before) >= d.half_share - d.slack,
    "improvement_too_small": lambda d: not d.moved,
    "inside_band": lambda d: not d.moved,
}


def drifts(case, result):
    """The drift of each target by symbol."""
    state, wanted, quotes, _ = case
    held, moved = {row.symbol: row.quantity for row in state.positions}, traded(result)
    marks = {quoted.symbol: (quoted.bid + quoted.ask) / 2 for quoted in quotes}
    investable = result.plan.total_value_usd - result.plan.floor_usd
    for symbol, weight in ((target.symbol, target.weight) for target in wanted):
        mark, shares = marks[symbol], moved.get(symbol, 0)
        before = held.get(symbol, Decimal(0)) * mark - weight * investable
        yield symbol, Drift(before, before + shares * mark, shares, mark / 2, mark / 1000)


def spare_cash(result):
    """The cash in USD that the plan leaves for another share if all buys fill at their limits."""
    at_limits = sum((buy.quantity * (buy.price - buy.quote_usd) for buy in result.plan.buys), Decimal(0))
    return result.expected.cash - at_limits - max(result.plan.floor_usd, result.plan.cash_target_usd)


@given(st.integers(0, 10**9), st.sampled_from([2, 5, 12, 40, 160]))
@settings(max_examples=150)
def test_reasons_of_trades_and_of_untraded_symbols_are_true(seed, size):
    case = drawn_account(seed, size)
    try:
        result = TradeCalculator(case[3]).plan(*case[:3])
    except CalculationRefused:
        return
    asks = {quoted.symbol: quoted.ask for quoted in case[2]}
    told = {trade.symbol: trade.reason for trade in result.trades} | reasons(result)
    for symbol, drift in drifts(case, result):
        assert TRUE[told[symbol]](drift), (symbol, told[symbol], drift)
        if told[symbol] == "not_enough_cash":
            fee = charged(result.plan.commission, 1, asks[symbol])
            assert spare_cash(result) < asks[symbol] + 2 * fee + 1
    skipped = [warning.message for warning in result.warnings if warning.code == "one_share_skipped"]
    assert not any(f"No share of {trade.symbol}:" in message for trade in result.trades for message in skipped)


def test_symbol_sold_below_its_target_makes_room():
    """Each A is 0.3 of a share above its target and B nine shares below: one A pays for all of B."""
    state = account("0", *((name, "5", "1000") for name in ("A1", "A2", "A3")), ("B", "11", "100"))
    wanted = targets(A1="0.291925", A2="0.291925", A3="0.291925", B="0.124224")
    result = plan(state, wanted, [quote("A1", "1000"), quote("A2", "1000"), quote("A3", "1000"), quote("B", "100")])
    assert sorted(traded(result).values()) == [-1, 9]
    assert [trade.reason for trade in result.trades] == ["makes_room", "underweight"]


def test_symbol_without_money_for_a_share_is_not_at_target():
    state = account("60", ("A", "9", "100"), ("B", "10", "100"))
    result = plan(state, targets(A="0.5", B="0.5"), [quote("A", "100"), quote("B", "100")])
    assert reasons(result) == {"A": "not_enough_cash", "B": "at_target"}


def test_warning_of_a_skipped_share_is_taken_back_when_it_is_bought():
    """No money is certain for a first share of B, but selling A below its target for it is closer to the targets."""
    state = account("0", ("A", "10", "100"))
    result = plan(state, targets(A="0.86", B="0.14"), [quote("A", "100"), quote("B", "140")])
    assert traded(result)["B"] == 1
    assert "one_share_skipped" not in {warning.code for warning in result.warnings}
