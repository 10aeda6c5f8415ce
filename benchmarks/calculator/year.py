"""Simulate a year of daily runs: `python -m benchmarks.calculator.year`.

The calculator trades the same accounts as simple strategies, on the same prices. All orders are filled at the quotes.
"""

import argparse
import itertools
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from benchmarks.calculator.generator import Case
from benchmarks.calculator.market import PORTFOLIOS, Portfolio, quotes_by_session
from benchmarks.calculator.page import write_measured
from benchmarks.calculator.problem import Problem, Symbol
from benchmarks.calculator.rules import is_feasible
from calculator import AccountConfig, AccountState, AllocationItem, Commission, Position, TradeCalculator

SIZES_USD = (5_000, 10_000, 25_000, 100_000)
WALKS = 3
OTHER_BANDS_PP = tuple(Decimal(band) for band in ("0.05", "0.1", "0.25", "1", "2", "4"))
"""Other bands, in percentage points, of the simple strategies: they show what these cost at another drift."""
UNDONE_WITHIN = 5
"""Sessions within which an order in the other direction undoes an order."""
POLICY = AccountConfig(
    cash_reserve_percent=Decimal("0.5"), min_cash_usd=Decimal(100), commission=Commission(kind="per_share")
)
"""The default policy of an account, with the usual commission per share."""

Strategy = Callable[[Case, Problem], Mapping[str, int]]


def this_calculator(case: Case, _problem: Problem) -> Mapping[str, int]:
    """Return the calculator's trades."""
    result = TradeCalculator(case.config).plan(case.account, case.targets, case.quotes)
    return {trade.symbol: trade.quantity for trade in result.trades}


def rounding(_case: Case, problem: Problem) -> Mapping[str, int]:
    """Trade each symbol outside the band to the whole share nearest to its target."""
    return _payable(problem, {symbol.name: round(-symbol.drift / symbol.mark) for symbol in problem.outside_band})


def to_the_edge(_case: Case, problem: Problem) -> Mapping[str, int]:
    """Trade each symbol outside the band to the nearest whole share that is inside, or else nearest to the target."""
    band = problem.total * problem.config.band_percent / 100
    return _payable(problem, {symbol.name: _shares_to_edge(symbol, band) for symbol in problem.outside_band})


def _shares_to_edge(symbol: Symbol, band: Decimal) -> int:
    beyond = abs(symbol.drift) - band
    nearest = round(-symbol.drift / symbol.mark)
    least = max(0, math.ceil(beyond / symbol.mark))
    return max(-least, nearest) if symbol.drift > 0 else min(least, nearest)


def _payable(problem: Problem, moved: dict[str, int]) -> Mapping[str, int]:
    """Return the trades without the buys that cash does not pay for; the symbols nearest to their targets go without first."""
    moved = {name: shares for name, shares in moved.items() if shares}
    buys = [name for name, shares in moved.items() if shares > 0]
    for name in sorted(buys, key=lambda name: -problem.symbols[name].drift):
        while moved.get(name) and not is_feasible(problem, moved):
            moved[name] -= 1
        if not moved[name]:
            del moved[name]
    return moved


ROUNDING, EDGE = "rounding to the target", "to the edge of the band"
STRATEGIES: dict[str, Strategy] = {
    "this calculator": this_calculator,
    ROUNDING: rounding,
    EDGE: to_the_edge,
}


@dataclass
class Year:
    """What a strategy did in one year with one account. Money is a fraction of the account value of its day."""

    turnover: float = 0
    cost: float = 0
    orders: int = 0
    away: int = 0
    undone: int = 0
    drifts: list[float] = field(default_factory=list)
    last: dict[str, tuple[int, int]] = field(
        default_factory=dict
    )  # session and direction of the latest order, by symbol

    def record(self, session: int, problem: Problem, moved: Mapping[str, int]) -> None:
        """Record the trades of a session."""
        total = problem.total
        values = [shares * problem.symbols[name].mark for name, shares in moved.items()]
        sold = -sum(value for value in values if value < 0)
        self.turnover += float(max(sum(values) + sold, sold) / total)
        self.cost += float(problem.cost(moved) / total)
        for name, shares in moved.items():
            symbol, direction = problem.symbols[name], 1 if shares > 0 else -1
            before, last_direction = self.last.get(name, (-UNDONE_WITHIN - 1, direction))
            self.orders += 1
            self.away += abs(symbol.drift_at(symbol.whole + shares)) > abs(symbol.drift)
            self.undone += last_direction != direction and session - before <= UNDONE_WITHIN
            self.last[name] = session, direction
        off = abs(problem.cash_after(moved, worst=False) - problem.cash_wanted)
        self.drifts.append(float((problem.distance(moved) + off) / total / 2))


def simulate(portfolio: Portfolio, size_usd: int, seed: int, trade: Strategy, policy: AccountConfig = POLICY) -> Year:
    """Return a year of daily runs. The account begins with the whole shares below its targets, and the rest in cash."""
    year = Year()
    targets = [AllocationItem(symbol=symbol, weight=weight) for symbol, weight in portfolio.weights.items()]
    shares = {
        symbol: int(size_usd * weight / Decimal(portfolio.prices[symbol]))
        for symbol, weight in portfolio.weights.items()
    }
    cash = size_usd - sum(n * Decimal(portfolio.prices[symbol]) for symbol, n in shares.items())
    for session, quotes in enumerate(quotes_by_session(portfolio, seed)):
        marks = {symbol: (quote.bid + quote.ask) / 2 for symbol, quote in quotes.items()}
        rows = [
            Position(symbol=symbol, quantity=Decimal(n), market_price=marks[symbol]) for symbol, n in shares.items()
        ]
        account = AccountState(
            total_value_usd=cash + sum(row.quantity * row.market_price for row in rows),
            cash_usd=cash,
            positions=tuple(row for row in rows if row.quantity),
        )
        case = Case(account, targets, list(quotes.values()), policy)
        problem = Problem(case)
        moved = trade(case, problem)
        year.record(session, problem, moved)
        cash = problem.cash_after(moved, worst=False)
        shares = {symbol: n + moved.get(symbol, 0) for symbol, n in shares.items()}
    return year


@dataclass(frozen=True)
class Years:
    """The years of one strategy with one account size."""

    size_usd: int
    name: str
    years: list[Year]

    @property
    def cost_bp(self) -> float:
        """Cost of a year in basis points of the account value."""
        return statistics.mean(year.cost for year in self.years) * 10_000

    @property
    def drift(self) -> float:
        """Mean drift after the trades of a day: half the sum of the distances from all targets, as a fraction."""
        return statistics.mean(drift for year in self.years for drift in year.drifts)

    def row(self) -> str:
        """Return the first columns of the table row."""
        orders, accounts = sum(year.orders for year in self.years), len(self.years)
        return (
            f"| ${self.size_usd:,} | {self.name} | {statistics.mean(year.turnover for year in self.years):.1%} | "
            f"{orders / accounts:.0f} | {self.cost_bp:.1f} bp | {self.drift:.2%} | "
            f"{sum(year.away for year in self.years) / max(1, orders):.1%} | "
            f"{sum(year.undone for year in self.years) / accounts:.1f} |"
        )


def run(size_usd: int, name: str, walks: int, policy: AccountConfig = POLICY) -> Years:
    """Return the years of all portfolios and price paths."""
    accounts = [(portfolio, seed) for portfolio in PORTFOLIOS for seed in range(walks)]
    return Years(
        size_usd, name, [simulate(portfolio, size_usd, seed, STRATEGIES[name], policy) for portfolio, seed in accounts]
    )


def cost_at(drift: float, curve: Sequence[Years]) -> float:
    """Return the cost in basis points at a mean drift, interpolated between the years with other bands."""
    points = sorted((one.drift, one.cost_bp) for one in curve)
    for (low, cost_low), (high, cost_high) in itertools.pairwise(points):
        if low <= drift <= high:
            return cost_low + (cost_high - cost_low) * (drift - low) / (high - low)
    return points[0][1] if drift < points[0][0] else points[-1][1]


def _with_other_bands(one: Years, walks: int) -> list[Years]:
    """Return the years of a strategy with each band."""
    policies = [POLICY.model_copy(update={"band_percent": band}) for band in OTHER_BANDS_PP]
    return [one, *(run(one.size_usd, one.name, walks, policy) for policy in policies)]


def year_table(walks: int = WALKS) -> str:
    """Simulate all account sizes and return the results as a Markdown table."""
    lines = [
        (
            f"Measured by `python -m benchmarks.calculator.year --walks {walks}`: means over {len(PORTFOLIOS)} portfolios "
            f"and {walks} price paths of each."
        ),
        "",
        (
            "| Account | Strategy | Turnover | Orders | Cost | Mean drift | Away from the target | Undone in five sessions | "
            "Rounding costs at this drift | To the edge costs at this drift |"
        ),
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for size in SIZES_USD:
        found = {name: run(size, name, walks) for name in STRATEGIES}
        curves = [_with_other_bands(found[name], walks) for name in (ROUNDING, EDGE)]
        for one in found.values():
            costs = " | ".join(f"{cost_at(one.drift, curve):.1f} bp" for curve in curves)
            lines.append(f"{one.row()} {costs} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--walks", type=int, default=WALKS, help=f"price paths of each portfolio (default: {WALKS})")
    parser.add_argument("--no-docs", action="store_true", help="print the results without changing docs/")
    options = parser.parse_args()
    text = year_table(options.walks)
    print(text)
    if not options.no_docs:
        write_measured("year", text)


if __name__ == "__main__":
    main()
