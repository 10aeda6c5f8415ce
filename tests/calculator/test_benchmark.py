"""The judge of the benchmark: its rules, bounds and strategies, on accounts that are small enough to check by hand."""

from decimal import Decimal

import pytest

from benchmarks.calculator.generator import Case, make_case
from benchmarks.calculator.market import PORTFOLIOS
from benchmarks.calculator.problem import Problem
from benchmarks.calculator.rules import makes_worse, overshooting
from benchmarks.calculator.year import Year, Years, cost_at, rounding, simulate, to_the_edge
from tests.calculator.makers import account, config, plan, quote, targets


def problem(state, wanted, prices, **policy):
    """A problem with quotes without a spread."""
    return Problem(Case(state, wanted, [quote(symbol, price) for symbol, price in prices.items()], config(**policy)))


def test_problem_share_far_above_its_target_may_not_be_bought():
    """$6,000 for a target of $990: a share overshoots by half of the account."""
    judge = problem(account(10_000), targets(A="0.099", B="0.9"), {"A": "6000", "B": "15000"})
    assert judge.first_shares == set()
    assert {name: judge.most(judge.symbols[name]) for name in "AB"} == {"A": 0, "B": 0}
    assert overshooting(judge, {"A": 1}) == {"A"}


@pytest.mark.parametrize(("one_share", "most"), [(True, 8), (False, 5)])
def test_problem_buy_without_the_one_share_rule_ends_within_half_a_share(one_share, most):
    """A target of $460: up to $860 with 5 % of $8,000 above it, or up to half a share of $100 above it."""
    judge = problem(account(8_000), targets(A="0.0575"), {"A": "100"}, one_share=one_share)
    assert judge.most(judge.symbols["A"]) == most


def test_problem_last_share_beyond_the_overshoot_is_not_kept():
    """One share of 24 % for a target of 9 % may be sold; one of 13 % is kept."""
    judge = problem(
        account(6_300, ("A", 1, 2_400), ("B", 1, 1_300)), targets(A="0.09", B="0.09"), {"A": "2400", "B": "1300"}
    )
    assert {name: judge.least(judge.symbols[name]) for name in "AB"} == {"A": 0, "B": 1}


def test_problem_target_of_weight_zero_is_liquidated_inside_the_band():
    judge = problem(account(990, ("A", 1, 10)), targets(A="0", B="1"), {"A": "10", "B": "10"}, band_percent=5)
    assert judge.liquidations == {"A": -1}


@pytest.mark.parametrize(("weight", "first"), [("0.00000001", set()), ("0.0004", set()), ("0.0005", {"A"})])
def test_problem_noise_gets_no_first_share(weight, first):
    judge = problem(account(5_000), targets(A=weight), {"A": "200"}, band_percent=1)
    assert judge.first_shares == first


def test_problem_sells_inside_the_band_pay_for_no_first_share():
    """B and C are inside the band above and below their targets, so nothing pays for the missing A."""
    state = account(0, ("B", 1020, 10), ("C", 980, 10))
    wanted, prices = targets(A="0.003", B="0.5", C="0.497"), {"A": "60", "B": "10", "C": "10"}
    assert problem(state, wanted, prices, band_percent=2).first_shares == set()
    assert problem(state, wanted, prices, band_percent="0.5").first_shares == {"A"}


def test_problem_weights_above_one_by_rounding_are_scaled():
    judge = problem(account(10_000), targets(A="0.7", B="0.3005"), {"A": "10", "B": "10"})
    assert sum(symbol.wanted for symbol in judge.symbols.values()).quantize(Decimal("0.000001")) == 10_000


def test_rules_trades_that_leave_an_account_further_from_its_targets_are_noticed():
    judge = problem(account(0, ("A", 5, 100), ("B", 5, 100)), targets(A="0.5", B="0.5"), {"A": "100", "B": "100"})
    assert not makes_worse(judge, {})
    assert makes_worse(judge, {"A": -1})


def test_rules_first_share_is_not_held_against_a_plan():
    """A share of $400 for a target of $100 is promised although it leaves the account further from its targets."""
    judge = problem(account(10_000), targets(A="0.01"), {"A": "400"})
    assert judge.error({"A": 1}) > judge.error({})
    assert not makes_worse(judge, {"A": 1})
    assert makes_worse(judge, {"A": 2})


@pytest.mark.parametrize("seed", range(20))
def test_exact_optimum_is_no_worse_and_keeps_the_bounds(seed):
    exact = pytest.importorskip("benchmarks.calculator.exact", reason="the solver is installed for the benchmarks only")
    judge = Problem(make_case(seed, 4))
    best = exact.optimum(judge)
    assert not makes_worse(judge, best.moved)
    assert not overshooting(judge, best.moved)
    assert float(judge.error(best.moved)) == pytest.approx(best.bound, abs=0.01)


def test_strategies_trade_only_outside_the_band():
    """A is 10 points above its target, B 10 points below, C on it: to the target, and to an edge of 4 points."""
    state = account(0, ("A", 40, 10), ("B", 20, 10), ("C", 40, 10))
    judge = problem(state, targets(A="0.3", B="0.3", C="0.4"), dict.fromkeys("ABC", "10"), band_percent=4)
    assert rounding(None, judge) == {"A": -10, "B": 10}
    assert to_the_edge(None, judge) == {"A": -6, "B": 6}


def test_year_counts_orders_that_are_undone_and_away_from_the_target():
    judge = problem(account(500, ("A", 5, 100)), targets(A="0.5"), {"A": "100"})
    year = Year()
    year.record(0, judge, {"A": 1})
    year.record(5, judge, {"A": -1})
    year.record(11, judge, {"A": 1})
    assert (year.orders, year.away, year.undone) == (3, 3, 1)
    assert year.drifts == [0.1, 0.1, 0.1]


def test_year_of_every_strategy_is_on_the_same_prices():
    first, second = (simulate(PORTFOLIOS[0], 10_000, 1, trade) for trade in (rounding, lambda _case, _problem: {}))
    assert len(first.drifts) == len(second.drifts) == 252
    assert second.orders == 0
    assert first.orders > 0


def test_cost_at_a_drift_is_interpolated():
    curve = [Years(0, "", [Year(cost=cost / 10_000, drifts=[drift])]) for drift, cost in ((0.1, 40), (0.2, 20))]
    assert [round(cost_at(drift, curve), 6) for drift in (0.05, 0.1, 0.15, 0.3)] == [40, 40, 30, 20]


def test_shortfall_fitted_buys_are_compared_with_the_best_smaller_buys():
    """Two shares of A and one of B are planned; $0.80 short, the best is to leave one of A out."""
    shortfalls = pytest.importorskip("benchmarks.calculator.shortfalls", reason="it needs the solver")
    state, wanted = account(410), targets(A="0.488", B="0.512")
    case = Case(state, wanted, [quote("A", 100), quote("B", 210)], config())
    judge = Problem(case)
    found = shortfalls.shortfalls({1: case}, {1: plan(state, wanted, case.quotes)})
    by_name = {one.name: one for one in found}
    (ratio,) = by_name["cash $0.80 short of the buys"].ratios
    assert ratio >= 1
    assert by_name["sells filled 2 % worse"].ratios == []
    assert shortfalls.best_smaller_buys(judge, {}, {"A": 2, "B": 1}, Decimal("409.20")).moved == {"A": 1, "B": 1}
