"""Everybody on the same accounts, one after the other, in one run."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from benchmarks.calculator.exact import is_feasible, optimum
from benchmarks.calculator.generator import Case, make_case
from benchmarks.calculator.rivals import RIVALS
from calculator import CalculationRefused, TradeCalculator
from calculator.holdings import make_holdings
from calculator.outlook import l1_with_cost
from calculator.selection import select


@dataclass
class Score:
    """What one way has shown: times in milliseconds, and errors as multiples of the optimum's."""

    name: str
    times: list[float] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)
    infeasible: int = 0
    failed: int = 0

    def row(self) -> dict[str, float]:
        """The figures of the table."""
        ratios, times = sorted(self.ratios) or [float("nan")], sorted(self.times) or [float("nan")]
        runs = len(self.times) + self.failed
        return {
            "infeasible": self.infeasible / max(1, runs),
            "mean": statistics.mean(ratios),
            "median": statistics.median(ratios),
            "p99": ratios[int(len(ratios) * 0.99)],
            "worst": ratios[-1],
            "above 1.05": sum(ratio > 1.05 for ratio in ratios),
            "accounts": len(self.ratios),
            "time median": statistics.median(times),
            "time p99": times[int(len(times) * 0.99)],
        }


def compare(first_seed: int, accounts: int) -> list[Score]:
    """All ways on so many accounts; those that the calculator refuses are not counted."""
    ours, exact = Score("ours"), Score("exact (MILP)")
    others = {name: Score(name) for name in RIVALS}
    for seed in range(first_seed, first_seed + accounts):
        case = make_case(seed)
        try:
            milliseconds, result = _timed(lambda case=case: _plan(case))
        except CalculationRefused:
            continue
        holdings = make_holdings(case.account, case.targets, case.quotes, case.config)
        selection = select(holdings)
        took, best = _timed(lambda h=holdings, s=selection: optimum(h, s))
        if best is None:
            exact.failed += 1
            continue
        exact.times.append(took)
        exact.ratios.append(1.0)
        ours.times.append(milliseconds)
        moved = {trade.symbol: trade.quantity for trade in result.trades}
        floor_error = max(l1_with_cost(holdings, best), 1)
        _judge(ours, holdings, selection, moved, floor_error)
        for name, way in RIVALS.items():
            score = others[name]
            try:
                took, theirs = _timed(lambda w=way, s=selection: w(s))
            except Exception:  # noqa: BLE001 - a way that fails on an account is counted as failed
                score.failed += 1
                continue
            score.times.append(took)
            _judge(score, holdings, selection, theirs, floor_error)
    return [*others.values(), exact, ours]


def _judge(score: Score, holdings, selection, moved: dict[str, int], best: int) -> None:  # noqa: ANN001
    """Errors count only where the trades can be carried out at all."""
    if is_feasible(holdings, selection, moved):
        score.ratios.append(l1_with_cost(holdings, moved) / best)
    else:
        score.infeasible += 1


def _plan(case: Case):  # noqa: ANN202
    return TradeCalculator(case.config).plan(case.account, case.targets, case.quotes)


def _timed(function: Callable[[], object]) -> tuple[float, object]:
    started = time.perf_counter()
    result = function()
    return (time.perf_counter() - started) * 1000, result


def growth(sizes: list[int], accounts: int) -> dict[int, float]:
    """Median milliseconds of ours by number of symbols."""
    found = {}
    for size in sizes:
        times = []
        for seed in range(accounts):
            case = make_case(seed, size)
            try:
                times.append(_timed(lambda case=case: _plan(case))[0])
            except CalculationRefused:
                continue
        found[size] = statistics.median(times)
    return found
