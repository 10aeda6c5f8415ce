"""What others would buy and sell: rounding, and PyPortfolioOpt's two ways to whole shares."""

import warnings
from collections.abc import Callable

import pandas as pd

from calculator.selection import Selection

Rival = Callable[[Selection], dict[str, int]]


def naive_rounding(selection: Selection) -> dict[str, int]:
    """Every target to its nearest share."""
    wishes = {}
    for line in selection.free:
        below = line.whole_held + (line.target - line.value) // line.mark
        wishes[line.symbol] = max(0, below + (line.miss_at(below + 1) < line.miss_at(below)))
    return _moved(selection, wishes)


def pypfopt_greedy(selection: Selection) -> dict[str, int]:
    """PyPortfolioOpt's greedy allocation of what the targets are worth."""
    return _pypfopt(selection, lambda allocation: allocation.greedy_portfolio())


def pypfopt_lp(selection: Selection) -> dict[str, int]:
    """PyPortfolioOpt's linear programme for the same."""
    return _pypfopt(selection, lambda allocation: allocation.lp_portfolio(solver="HIGHS"))


def _pypfopt(selection: Selection, allocate: Callable[..., tuple[dict[str, int], float]]) -> dict[str, int]:
    from pypfopt.discrete_allocation import DiscreteAllocation

    wanted = {line.symbol: float(line.target) for line in selection.free if line.target > 0}
    total = sum(wanted.values())
    prices = pd.Series({line.symbol: line.ask / 1e6 for line in selection.free if line.target > 0})
    weights = {symbol: value / total for symbol, value in wanted.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        shares, _ = allocate(DiscreteAllocation(weights, prices, total_portfolio_value=total / 1e6))
    return _moved(selection, {line.symbol: int(shares.get(line.symbol, 0)) for line in selection.free})


def _moved(selection: Selection, shares: dict[str, int]) -> dict[str, int]:
    moved = {line.symbol: shares[line.symbol] - line.whole_held for line in selection.free}
    fixed = {symbol: -n for symbol, n in selection.liquidate.items()}
    return {**fixed, **{symbol: n for symbol, n in moved.items() if n}}


RIVALS: dict[str, Rival] = {
    "rounding": naive_rounding,
    "PyPortfolioOpt greedy": pypfopt_greedy,
    "PyPortfolioOpt LP": pypfopt_lp,
}
