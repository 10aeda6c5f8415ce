"""Measure what each pass of the search is worth: `python -m benchmarks.calculator.passes`.

Each pass is switched off in turn, and the same accounts are planned again. The errors are compared with those of the
full search, so that no exact solver is needed.
"""

import argparse
import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from unittest.mock import patch

from benchmarks.calculator.generator import Case, make_case
from benchmarks.calculator.measure import plan_case, timed
from benchmarks.calculator.page import write_measured
from benchmarks.calculator.problem import Problem
from benchmarks.calculator.shortfalls import CENT
from calculator import CalculationRefused, leftover_cash, sizing


def _best_so_far(_sizing: sizing.Sizing, best: sizing.State) -> sizing.State:
    return best


def _unchanged(_objective: sizing.Objective, state: sizing.State) -> sizing.State:
    return state


def _greedy_only(_items: object, taken: list[int], *_: object) -> list[int]:
    return taken


PASSES: dict[str, Callable[[], list[object]]] = {
    "full search": list,
    "without the branch and bound of the leftover cash": lambda: [patch.object(leftover_cash, "_search", _greedy_only)],
    "without forcing high-priced shares": lambda: [patch.object(sizing.Sizing, "_try_high_priced", _best_so_far)],
    "without swaps of single shares": lambda: [patch.object(sizing, "improve", _unchanged)],
    "without swaps of many shares": lambda: [patch.object(sizing, "swap_many", _unchanged)],
    "without any swap": lambda: [
        patch.object(sizing, "improve", _unchanged),
        patch.object(sizing, "swap_many", _unchanged),
    ],
}


@contextmanager
def _switched_off(patches: list[object]) -> Iterator[None]:
    for one in patches:
        one.start()  # type: ignore[attr-defined]
    try:
        yield
    finally:
        for one in patches:
            one.stop()  # type: ignore[attr-defined]


def measure(cases: dict[int, Case], patches: list[object]) -> dict[int, tuple[float, Decimal]]:
    """Return processor time in milliseconds and the error (costs included) in USD of each account that can be planned."""
    found = {}
    with _switched_off(patches):
        for seed, case in cases.items():
            try:
                took, result = timed(lambda case=case: plan_case(case))
            except CalculationRefused:
                continue
            moved = {trade.symbol: trade.quantity for trade in result.trades}
            found[seed] = took, max(Problem(case).error(moved), CENT)
    return found


def table(first_seed: int, accounts: int) -> str:
    """Return the results as a Markdown table."""
    cases = {seed: make_case(seed) for seed in range(first_seed, first_seed + accounts)}
    measured = {name: measure(cases, patches()) for name, patches in PASSES.items()}
    full = measured["full search"]
    lines = [
        (
            f"Measured by `python -m benchmarks.calculator.passes --accounts {accounts} --first-seed {first_seed}` over "
            f"{len(full)} accounts: error (distances and costs) relative to the full search, and processor time."
        ),
        "",
        "| Search | Mean | p99 | Worst | Closer than the full search | Time, median | Time, p99 |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, results in measured.items():
        ratios = sorted(float(error / full[seed][1]) for seed, (_, error) in results.items())
        times = sorted(took for took, _ in results.values())
        lines.append(
            f"| {name} | {statistics.mean(ratios):.4f} | {ratios[int(len(ratios) * 0.99)]:.3f} | {ratios[-1]:.3f} | "
            f"{sum(ratio < 0.9999 for ratio in ratios)} | {statistics.median(times):.1f} ms | "
            f"{times[int(len(times) * 0.99)]:.1f} ms |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--accounts", type=int, default=500, help="number of accounts (default: 500)")
    parser.add_argument("--first-seed", type=int, default=1_300_000, help="seed of the first account")
    options = parser.parse_args()
    text = table(options.first_seed, options.accounts)
    print(text)
    write_measured("passes", text)


if __name__ == "__main__":
    main()
