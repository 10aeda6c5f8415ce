"""Alternative methods for comparison: rounding, and the two discrete allocation methods of PyPortfolioOpt."""

import warnings
from collections.abc import Callable

import pandas as pd

from benchmarks.calculator.problem import Problem

Alternative = Callable[[Problem], dict[str, int]]


def naive_rounding(problem: Problem) -> dict[str, int]:
    """Round every target to the nearest whole share."""
    return _moved(problem, {symbol.name: symbol.whole + round(-symbol.drift / symbol.mark) for symbol in problem.free})


def pypfopt_greedy(problem: Problem) -> dict[str, int]:
    """Allocate the value of the targets with PyPortfolioOpt's greedy method."""
    return _pypfopt(problem, lambda allocation: allocation.greedy_portfolio())


def pypfopt_lp(problem: Problem) -> dict[str, int]:
    """Allocate the value of the targets with PyPortfolioOpt's linear program."""
    return _pypfopt(problem, lambda allocation: allocation.lp_portfolio(solver="HIGHS"))


def _pypfopt(problem: Problem, allocate: Callable[..., tuple[dict[str, int], float]]) -> dict[str, int]:
    from pypfopt.discrete_allocation import DiscreteAllocation

    wanted = {symbol.name: float(symbol.wanted) for symbol in problem.free if symbol.wanted > 0}
    total = sum(wanted.values())
    prices = pd.Series({symbol.name: float(symbol.ask) for symbol in problem.free if symbol.wanted > 0})
    weights = {name: value / total for name, value in wanted.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        shares, _ = allocate(DiscreteAllocation(weights, prices, total_portfolio_value=total))
    return _moved(problem, {symbol.name: int(shares.get(symbol.name, 0)) for symbol in problem.free})


def _moved(problem: Problem, shares: dict[str, int]) -> dict[str, int]:
    moved = {symbol.name: max(0, shares[symbol.name]) - symbol.whole for symbol in problem.free}
    return {**problem.liquidations, **{name: n for name, n in moved.items() if n}}


ALTERNATIVES: dict[str, Alternative] = {
    "rounding": naive_rounding,
    "PyPortfolioOpt greedy": pypfopt_greedy,
    "PyPortfolioOpt LP": pypfopt_lp,
}
