"""Returns without money paid in or out, from daily values."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from trading.planning.returns import DayValue, Execution, Gap, daily_returns, day_return, period_return

FIRST = date(2026, 11, 2)
HELD = {"SPY": "100"}


def look(day, value, cash, shares=HELD):
    at = datetime.combine(FIRST, datetime.min.time(), UTC) + timedelta(days=day, hours=21)
    return DayValue(FIRST + timedelta(days=day), at, Decimal(value), Decimal(cash), shares)


def trade(day, quantity, price, commission="0", symbol="SPY"):
    at = datetime.combine(FIRST, datetime.min.time(), UTC) + timedelta(days=day, hours=15)
    quantity = Decimal(quantity)
    return Execution(at, symbol, quantity, -quantity * Decimal(price) - Decimal(commission))


def percents(returns):
    return [None if one.fraction is None else round(one.fraction * 100, 3) for one in returns]


def over(returns, first=FIRST, since=FIRST):
    return period_return(returns, since, first)


def test_day_return_with_a_deposit_and_a_withdrawal_excludes_both():
    values = [look(0, 100_000, 10_000), look(1, 151_500, 60_000), look(2, 130_000, 40_000)]
    returns = daily_returns(values, [], ())
    assert [one.flow_usd for one in returns] == [50_000, -20_000]
    assert percents(returns) == [Decimal("1.000"), Decimal("-0.990")]
    period = over(returns)
    assert round(period.percent, 3) == Decimal("0.000")
    assert (period.money_in_usd, period.money_out_usd, period.gap) == (50_000, 20_000, None)


def test_day_return_of_an_empty_account_with_a_deposit_is_a_gap():
    returns = daily_returns([look(0, 0, 0, {}), look(1, 10_000, 10_000, {}), look(2, 10_100, 10_000, {})], [], ())
    assert (returns[0].fraction, returns[0].gap, returns[0].flow_usd) == (None, Gap.NO_CAPITAL, 10_000)
    assert percents(returns[1:]) == [Decimal("1.000")]
    assert (over(returns).percent, over(returns).gap, over(returns).gap_day) == (None, Gap.NO_CAPITAL, returns[0].day)
    assert day_return(Decimal(0), Decimal(10_000), Decimal(10_000)) is None


def test_trades_and_commissions_explain_cash_and_are_part_of_the_return():
    values = [look(0, 100_000, 10_000), look(1, 100_990, 4_990, {"SPY": "110"})]
    (found,) = daily_returns(values, [trade(1, 10, 500, "10")], ())
    assert (found.flow_usd, found.gap) == (0, None)
    assert percents([found]) == [Decimal("0.990")]


def test_execution_counts_for_the_look_that_came_after_it():
    """A buy after the last look of a day changes the cash of the next day."""
    values = [look(0, 100_000, 10_000), look(1, 100_000, 10_000), look(2, 100_000, 5_000, {"SPY": "110"})]
    late = Execution(values[1].at + timedelta(hours=1), "SPY", Decimal(10), Decimal(-5000))
    assert percents(daily_returns(values, [late], ())) == [0, 0]


def test_day_without_a_value_leaves_it_and_the_next_day_without_a_return():
    values = [look(0, 100, 0), look(1, 101, 0), look(3, 102, 0), look(4, 103, 0)]
    days = [FIRST + timedelta(days=number) for number in range(5)]
    returns = daily_returns(values, [], days)
    assert [one.gap for one in returns] == [None, Gap.NO_VALUE, Gap.NO_VALUE, None]
    assert (over(returns).percent, over(returns).gap_day) == (None, days[2])


def test_day_without_a_session_needs_no_value():
    returns = daily_returns([look(0, 100, 0), look(3, 102, 0)], [], [FIRST, FIRST + timedelta(days=3)])
    assert percents(returns) == [Decimal("2.000")]


@pytest.mark.parametrize(
    ("before", "after", "cash"),
    [
        (HELD, {"SPY": "110"}, 5_000),  # bought elsewhere: cash fell, and nothing was paid out
        (HELD, {"SPY": "90"}, 15_000),  # sold elsewhere: cash rose, and nothing was paid in
        (HELD, {"SPY": "200"}, 10_000),  # shares moved in, or a split
        (HELD, {"SPY": "100", "IEF": "1"}, 10_000),
        (HELD, {}, 10_000),
        (None, HELD, 60_000),  # a look of before positions were recorded
        (HELD, None, 60_000),
    ],
)
def test_change_that_no_execution_explains_is_a_gap_and_no_deposit(before, after, cash):
    (found,) = daily_returns([look(0, 100_000, 10_000, before), look(1, 101_000, cash, after)], [], ())
    assert (found.fraction, found.gap) == (None, Gap.UNEXPLAINED)
    period = over([found])
    assert (period.percent, period.money_in_usd, period.money_out_usd) == (None, 0, 0)


def test_values_without_positions_count_while_the_cash_is_explained():
    returns = daily_returns([look(0, 100_000, 10_000, None), look(1, 101_000, 10_000, None)], [], ())
    assert percents(returns) == [Decimal("1.000")]


@pytest.mark.parametrize(
    ("cash", "flow", "percent"),
    [
        (10_000 + 40, 40, "0.000"),  # small money in may be a deposit: never a gain
        (10_000 - 40, 0, "-0.040"),  # small money out may be a fee: part of the return
        (10_000 - 60, -60, "0.000"),
        (Decimal("10000.40"), 0, "0.000"),  # a rounding difference
    ],
)
def test_small_change_of_cash_never_raises_the_return(cash, flow, percent):
    (found,) = daily_returns([look(0, 100_000, 10_000), look(1, Decimal(90_000) + cash, cash)], [], ())
    assert found.flow_usd == flow
    assert percents([found]) == [Decimal(percent)]


def test_period_starts_with_the_value_at_its_start_or_has_no_return():
    values = [look(day, 100 + day, 0) for day in range(4)]
    returns = daily_returns(values, [], ())
    assert round(over(returns, since=FIRST + timedelta(days=1)).percent, 4) == round(Decimal(200) / 101, 4)
    assert over(returns, since=FIRST - timedelta(days=1)).gap is Gap.TOO_SHORT
    assert over([], first=None).gap is Gap.TOO_SHORT
    assert over(returns, since=FIRST + timedelta(days=9)).gap is Gap.TOO_SHORT
    assert daily_returns([], [], [FIRST]) == []
