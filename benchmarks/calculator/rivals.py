"""What others would buy and sell: rounding, and PyPortfolioOpt's two ways to whole shares."""

import warnings
from collections.abc import Callable

import pandas as pd

from benchmarks.calculator.problem import Problem

Rival = Callable[[Problem], dict[str, int]]


def naive_rounding(problem: Problem) -> dict[str, int]:
    """Every target to its nearest share."""
    return _moved(problem, {symbol.name: symbol.whole + round(-symbol.drift / symbol.mark) for symbol in problem.free})


def pypfopt_greedy(problem: Problem) -> dict[str, int]:
    """PyPortfolioOpt's greedy allocation of what the targets are worth."""
    return _pypfopt(problem, lambda allocation: allocation.greedy_portfolio())


def pypfopt_lp(problem: Problem) -> dict[str, int]:
    """PyPortfolioOpt's linear programme for the same."""
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


RIVALS: dict[str, Rival] = {
    "rounding": naive_rounding,
    "PyPortfolioOpt greedy": pypfopt_greedy,
    "PyPortfolioOpt LP": pypfopt_lp,
}
