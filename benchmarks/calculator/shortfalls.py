"""Judge `fit_buys`: what it buys when the sells bring less than planned, against the best part of the planned buys."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from benchmarks.calculator.exact import best_smaller_buys
from benchmarks.calculator.generator import Case
from benchmarks.calculator.problem import Problem
from benchmarks.calculator.rules import MICRO
from calculator import Plan, TradeCalculationResult, TradeCalculator

CENT = Decimal("0.01")
"""Error in USD below which a result counts as exact."""


@dataclass
class Shortfall:
    """Results of `fit_buys` under one kind of shortfall: errors as multiples of the error of the best smaller buys."""

    name: str
    ratios: list[float] = field(default_factory=list)
    broken: int = 0
    unsolved: int = 0

    def row(self) -> dict[str, float]:
        """Return the values of the table row."""
        ratios = sorted(self.ratios) or [float("nan")]
        return {
            "accounts": len(self.ratios),
            "mean": sum(ratios) / len(ratios),
            "p99": ratios[int(len(ratios) * 0.99)],
            "worst": ratios[-1],
            "above 1.05": sum(ratio > 1.05 for ratio in ratios),
            "broken": self.broken,
            "unsolved": self.unsolved,
        }


def _worse_sells(percent: str) -> Callable[[Problem, Plan], Decimal]:
    """Return the cash after all sells at prices that are worse than the bid by this percentage."""

    def cash(problem: Problem, plan: Plan) -> Decimal:
        got = problem.cash
        for sell in plan.sells:
            price = problem.symbols[sell.symbol].bid * (1 - Decimal(percent) / 100)
            got += -sell.quantity * price - problem.commission(-sell.quantity, price)
        return got

    return cash


def _unfilled_sell(problem: Problem, plan: Plan) -> Decimal:
    """Return the cash after all sells but the largest one."""
    return problem.cash_after(_moved(plan.sells[1:]), worst=False) if plan.sells else problem.cash


def _short_by(usd: str) -> Callable[[Problem, Plan], Decimal]:
    """Return the cash that is this much less than the planned buys need."""
    return lambda problem, plan: problem.floor + _needed(problem, _moved(plan.buys)) - Decimal(usd)


def _withdrawn(problem: Problem, plan: Plan) -> Decimal:
    """Return the cash after all sells and a withdrawal of a third of what the buys need."""
    return problem.cash_after(_moved(plan.sells), worst=False) - _needed(problem, _moved(plan.buys)) / 3


SHORTFALLS: dict[str, Callable[[Problem, Plan], Decimal]] = {
    "sells filled 0.5 % worse": _worse_sells("0.5"),
    "sells filled 2 % worse": _worse_sells("2"),
    "largest sell not filled": _unfilled_sell,
    "cash $0.80 short of the buys": _short_by("0.80"),
    "a third of the cash withdrawn": _withdrawn,
}


def judge(found: Mapping[str, Shortfall], problem: Problem, plan: Plan) -> None:
    """Record the error of the fitted buys for each kind of shortfall that leaves too little cash for the planned buys."""
    planned, sold = _moved(plan.buys), _moved(plan.sells)
    for name, cash_after in SHORTFALLS.items():
        cash = cash_after(problem, plan).quantize(MICRO, "ROUND_FLOOR")
        if not planned or cash - problem.floor >= _needed(problem, planned):
            continue
        fitted = _moved(TradeCalculator.fit_buys(plan, cash))
        best = best_smaller_buys(problem, sold, planned, cash)
        if not _is_part(fitted, planned) or (fitted and cash - problem.floor < _needed(problem, fitted) - MICRO):
            found[name].broken += 1
        elif best is None:
            found[name].unsolved += 1
        else:
            error = _error(problem, sold, fitted, cash)
            found[name].ratios.append(float(max(error, CENT)) / max(best.bound, float(CENT)))


def shortfalls(cases: Mapping[int, Case], results: Mapping[int, TradeCalculationResult]) -> list[Shortfall]:
    """Judge the plans of all accounts; both mappings are by seed."""
    found = {name: Shortfall(name) for name in SHORTFALLS}
    for seed, result in results.items():
        judge(found, Problem(cases[seed]), result.plan)
    return list(found.values())


def _moved(trades: tuple) -> dict[str, int]:
    return {trade.symbol: trade.quantity for trade in trades}


def _needed(problem: Problem, buys: Mapping[str, int]) -> Decimal:
    """Return the cash in USD that the buys need at their limits, with commission."""
    return problem.cash - problem.cash_after(buys, worst=True)


def _is_part(fitted: Mapping[str, int], planned: Mapping[str, int]) -> bool:
    return all(0 < shares <= planned.get(name, 0) for name, shares in fitted.items())


def _error(problem: Problem, sold: Mapping[str, int], bought: Mapping[str, int], cash: Decimal) -> Decimal:
    """Return the error in USD after the buys: distances of all symbols and of cash, and the costs of the buys."""
    spent = problem.cash - problem.cash_after(bought, worst=False)
    off = abs(cash - spent - problem.cash_wanted)
    return off + problem.distance({**sold, **bought}) + problem.cost(bought)
