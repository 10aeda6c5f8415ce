"""Run all methods on the same accounts, one method after the other."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import TypeVar

from benchmarks.calculator.alternatives import ALTERNATIVES
from benchmarks.calculator.exact import Optimum, optimum
from benchmarks.calculator.generator import Case, make_case
from benchmarks.calculator.problem import Problem
from benchmarks.calculator.rules import broken_rules, is_feasible, keeps_shares, overshooting
from benchmarks.calculator.shortfalls import CENT, Shortfall, shortfalls
from calculator import CalculationRefused, TradeCalculationResult, TradeCalculator

P = TypeVar("P")
T = TypeVar("T")

LOOP_ITERATIONS = 200_000
CALM = {"minimum_improvement_bps": Decimal(10)}
"""The default minimum improvement, with which all accounts are planned again for the rules."""


@dataclass
class Score:
    """Results of one method: processor times in milliseconds, and errors as multiples of the optimum's error."""

    name: str
    times: list[float] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)
    infeasible: int = 0
    rule_breaks: int = 0
    failed: int = 0

    def judge(self, problem: Problem, moved: Mapping[str, int], best: Optimum) -> None:
        """Record the error if the trades can be executed and no share is missing or too many; count the account otherwise."""
        if not is_feasible(problem, moved):
            self.infeasible += 1
        elif not keeps_shares(problem, moved) or overshooting(problem, moved):
            self.rule_breaks += 1
        else:
            self.ratios.append(float(max(problem.error(moved), CENT)) / max(best.bound, float(CENT)))

    def row(self) -> dict[str, float]:
        """Return the values of the method's table row."""
        ratios, times = sorted(self.ratios) or [float("nan")], sorted(self.times) or [float("nan")]
        runs = max(1, len(self.times) + self.failed)
        return {
            "infeasible": self.infeasible / runs,
            "breaks a rule": self.rule_breaks / runs,
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
    """Results of all methods on the same accounts."""

    scores: list[Score]
    refused: int = 0
    unproven: int = 0
    unsolved: int = 0
    broken: dict[int, list[str]] = field(default_factory=dict)  # by seed
    shortfalls: list[Shortfall] = field(default_factory=list)


def compare(first_seed: int, accounts: int) -> Comparison:
    """Run all methods on the accounts. When the optimum is not proven in time, use the solver's bound instead.

    Each method plans all accounts before the next method starts. Otherwise every measurement would begin with the cold
    processor caches that another method's work left.
    """
    ours, exact = Score("this calculator"), Score("exact (MILP)")
    others = {name: Score(name) for name in ALTERNATIVES}
    found = Comparison([*others.values(), exact, ours])
    cases = {seed: make_case(seed) for seed in range(first_seed, first_seed + accounts)}
    planned = _all(cases, plan_case, CalculationRefused)
    found.refused = len(cases) - len(planned)
    problems = {seed: Problem(cases[seed]) for seed in planned}
    # A method that raises an error on an account is counted as failed there.
    moved = {name: _all(problems, method, Exception) for name, method in ALTERNATIVES.items()}
    for seed, problem in problems.items():
        our_time, result = planned[seed]
        if broken := broken_rules(problem, result) + broken_when_calm(cases[seed]):
            found.broken[seed] = broken
        exact_time, best = timed(lambda problem=problem: optimum(problem))
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
    found.shortfalls = shortfalls(cases, {seed: result for seed, (_, result) in planned.items()})
    return found


def broken_when_calm(case: Case) -> list[str]:
    """Return the rules that the plan breaks with the default minimum improvement, with which fewer trades are made."""
    calm = replace(case, config=case.config.model_copy(update=CALM))
    return [f"{rule} (with a minimum improvement)" for rule in broken_rules(Problem(calm), plan_case(calm))]


def loop_time() -> float:
    """Return the median time of a plain loop in milliseconds, as a reference for the current processor speed."""

    def add_up() -> int:
        total = 0
        for i in range(LOOP_ITERATIONS):
            total += i
        return total

    return statistics.median(timed(add_up)[0] for _ in range(15))


def growth(sizes: list[int], accounts: int) -> dict[int, float]:
    """Return the median time of the calculator in milliseconds by number of symbols; each account counts with its best of three."""
    found = {}
    for size in sizes:
        times = []
        for seed in range(accounts):
            case = make_case(seed, size)
            try:
                times.append(min(timed(lambda case=case: plan_case(case))[0] for _ in range(3)))
            except CalculationRefused:
                continue
        found[size] = statistics.median(times)
    return found


def plan_case(case: Case) -> TradeCalculationResult:
    """Return the plan of an account."""
    return TradeCalculator(case.config).plan(case.account, case.targets, case.quotes)


def _all(inputs: dict[int, P], method: Callable[[P], T], failure: type[Exception]) -> dict[int, tuple[float, T]]:
    """Return the result and the time in milliseconds of a method for each input; leave out those on which it fails."""
    found = {}
    for seed, one in inputs.items():
        try:
            found[seed] = timed(lambda one=one: method(one))
        except failure:
            continue
    return found


def timed(function: Callable[[], T]) -> tuple[float, T]:
    """Return the processor time in milliseconds, which excludes other work on the machine, and the result."""
    started = time.process_time()
    result = function()
    return (time.process_time() - started) * 1000, result
