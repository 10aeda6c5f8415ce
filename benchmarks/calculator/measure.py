"""Everybody on the same accounts, one after the other, in one run."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TypeVar

from benchmarks.calculator.exact import Optimum, optimum
from benchmarks.calculator.generator import Case, make_case
from benchmarks.calculator.problem import Problem
from benchmarks.calculator.rivals import RIVALS
from benchmarks.calculator.rules import broken_rules, is_feasible, keeps_shares
from calculator import CalculationRefused, TradeCalculationResult, TradeCalculator

P = TypeVar("P")
T = TypeVar("T")

ROUNDS_OF_LOOP = 200_000
CENT = Decimal("0.01")
"""Errors below it are as good as none."""


@dataclass
class Score:
    """What one way has shown: processor times in milliseconds, and errors as multiples of the optimum's."""

    name: str
    times: list[float] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)
    infeasible: int = 0
    against_rules: int = 0
    failed: int = 0

    def judge(self, problem: Problem, moved: Mapping[str, int], best: Optimum) -> None:
        """Errors count only where the trades can be carried out, and leave every target its share."""
        if not is_feasible(problem, moved):
            self.infeasible += 1
        elif not keeps_shares(problem, moved):
            self.against_rules += 1
        else:
            self.ratios.append(float(max(problem.error(moved), CENT)) / max(best.bound, float(CENT)))

    def row(self) -> dict[str, float]:
        """The figures of the table."""
        ratios, times = sorted(self.ratios) or [float("nan")], sorted(self.times) or [float("nan")]
        runs = max(1, len(self.times) + self.failed)
        return {
            "infeasible": self.infeasible / runs,
            "against rules": self.against_rules / runs,
            "mean": statistics.mean(ratios),
            "median": statistics.median(ratios),
            "p99": ratios[int(len(ratios) * 0.99)],
            "worst": ratios[-1],
            "above 1.05": sum(ratio > 1.05 for ratio in ratios),
            "accounts": len(self.ratios),
            "time median": statistics.median(times),
            "time p99": times[int(len(times) * 0.99)],
        }


@dataclass
class Comparison:
    """All ways on the same accounts."""

    scores: list[Score]
    refused: int = 0
    unproven: int = 0
    unsolved: int = 0
    broken: dict[int, list[str]] = field(default_factory=dict)  # by seed


def compare(first_seed: int, accounts: int) -> Comparison:
    """All ways on so many accounts. Where the optimum is not proven in time, the solver's bound stands for it.

    Each way plans all accounts before the next one does: after seconds of another's work the first milliseconds of any
    would be those of a processor that has to fill its caches.
    """
    ours, exact = Score("ours"), Score("exact (MILP)")
    others = {name: Score(name) for name in RIVALS}
    found = Comparison([*others.values(), exact, ours])
    cases = {seed: make_case(seed) for seed in range(first_seed, first_seed + accounts)}
    planned = _all(cases, _plan, CalculationRefused)
    found.refused = len(cases) - len(planned)
    problems = {seed: Problem(cases[seed]) for seed in planned}
    # A way that fails on an account is counted as failed.
    moved = {name: _all(problems, way, Exception) for name, way in RIVALS.items()}
    for seed, problem in problems.items():
        our_time, result = planned[seed]
        if broken := broken_rules(problem, result):
            found.broken[seed] = broken
        exact_time, best = _timed(lambda problem=problem: optimum(problem))
        if best is None:
            found.unsolved += 1
            continue
        found.unproven += not best.proven
        exact.times.append(exact_time)
        exact.judge(problem, best.moved, best)
        ours.times.append(our_time)
        ours.judge(problem, {trade.symbol: trade.quantity for trade in result.trades}, best)
        for name, score in others.items():
            if seed not in moved[name]:
                score.failed += 1
                continue
            took, shares = moved[name][seed]
            score.times.append(took)
            score.judge(problem, shares, best)
    return found


def loop_time() -> float:
    """Median milliseconds of a plain loop of so many rounds: how fast the processor is just now, to judge times by."""

    def add_up() -> int:
        total = 0
        for i in range(ROUNDS_OF_LOOP):
            total += i
        return total

    return statistics.median(_timed(add_up)[0] for _ in range(15))


def growth(sizes: list[int], accounts: int) -> dict[int, float]:
    """Median milliseconds of ours by number of symbols; each account counts with the best of three."""
    found = {}
    for size in sizes:
        times = []
        for seed in range(accounts):
            case = make_case(seed, size)
            try:
                times.append(min(_timed(lambda case=case: _plan(case))[0] for _ in range(3)))
            except CalculationRefused:
                continue
        found[size] = statistics.median(times)
    return found


def _plan(case: Case) -> TradeCalculationResult:
    return TradeCalculator(case.config).plan(case.account, case.targets, case.quotes)


def _all(of: dict[int, P], way: Callable[[P], T], failure: type[Exception]) -> dict[int, tuple[float, T]]:
    """What a way makes of each, with its milliseconds; those on which it fails are left out."""
    found = {}
    for seed, one in of.items():
        try:
            found[seed] = _timed(lambda one=one: way(one))
        except failure:
            continue
    return found


def _timed(function: Callable[[], T]) -> tuple[float, T]:
    """Milliseconds of processor time, which other work on the machine does not add to, and the result."""
    started = time.process_time()
    result = function()
    return (time.process_time() - started) * 1000, result
