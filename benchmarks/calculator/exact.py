"""Solve the sizing problem exactly by mixed-integer programming (HiGHS through scipy)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import coo_matrix

from benchmarks.calculator.problem import Problem, Symbol


@dataclass(frozen=True)
class Optimum:
    """The best signed share quantities found, and a lower bound of the error in USD."""

    moved: dict[str, int]
    bound: float
    proven: bool


class Program:
    """A mixed-integer program that is built one variable and one constraint at a time."""

    def __init__(self) -> None:
        self.costs: list[float] = []
        self.lower: list[float] = []
        self.upper: list[float] = []
        self.whole: list[bool] = []
        self.terms: list[tuple[int, int, float]] = []
        self.at_least: list[float] = []

    def variable(self, cost: float = 0, low: float = 0, high: float = np.inf, *, whole: bool = False) -> int:
        """Add a variable and return its number."""
        self.costs.append(cost)
        self.lower.append(low)
        self.upper.append(high)
        self.whole.append(whole)
        return len(self.costs) - 1

    def binary(self) -> int:
        """Add a variable that is 0 or 1 and return its number."""
        return self.variable(high=1, whole=True)

    def constrain(self, at_least: float, *terms: tuple[int, float]) -> None:
        """Require that the sum of the variables times their factors is at least `at_least`."""
        self.terms += [(len(self.at_least), column, factor) for column, factor in terms]
        self.at_least.append(at_least)

    def solve(self, seconds: float):  # noqa: ANN201 - scipy's result
        """Solve until the optimum is proven with a gap of zero, or until the time limit in seconds."""
        rows, columns, factors = zip(*self.terms, strict=True)
        matrix = coo_matrix((factors, (rows, columns)), shape=(len(self.at_least), len(self.costs))).tocsr()
        for presolve in (True, False):  # HiGHS sometimes fails with presolve
            answer = milp(
                self.costs,
                constraints=LinearConstraint(matrix, self.at_least, np.inf),
                integrality=np.array(self.whole, dtype=int),
                bounds=Bounds(self.lower, self.upper),
                options={"time_limit": seconds, "mip_rel_gap": 0, "presolve": presolve},
            )
            if answer.x is not None:
                break
        return answer


@dataclass(frozen=True)
class Range:
    """The shares of a symbol that may be bought and sold."""

    symbol: Symbol
    least_bought: int
    most_bought: int
    most_sold: int


def optimum(problem: Problem, seconds: float = 10) -> Optimum | None:
    """Return the best trades under the rules of the plan, or None when the solver found no solution in time."""
    cash = problem.cash_after(problem.liquidations, worst=False)
    ranges = []
    for symbol in problem.free:
        least = problem.least(symbol)
        ranges.append(
            Range(
                symbol,
                max(0, least - symbol.whole),
                max(0, problem.most(symbol) - symbol.whole),
                max(0, symbol.whole - least),
            )
        )
    found = _best(problem, ranges, problem.liquidations, cash, seconds)
    return found and Optimum(
        problem.liquidations | found.moved, found.bound + float(problem.cost(problem.liquidations)), found.proven
    )


def best_smaller_buys(
    problem: Problem, sells: Mapping[str, int], planned: Mapping[str, int], cash: Decimal, seconds: float = 10
) -> Optimum | None:
    """Return the best part of the planned buys that `cash`, in USD after the sells, pays for; the sells cost nothing."""
    ranges = [Range(problem.symbols[name], 0, shares, 0) for name, shares in planned.items()]
    return _best(problem, ranges, sells, cash, seconds)


def _best(
    problem: Problem, ranges: Sequence[Range], moved: Mapping[str, int], cash: Decimal, seconds: float
) -> Optimum | None:
    """Return the best trades within the ranges; other symbols have moved, without cost, and left `cash` in USD."""
    program = Program()
    cash, floor = float(cash), float(problem.floor)
    income = sum(one.most_sold * float(one.symbol.bid) for one in ranges)
    any_buy, cash_miss = program.binary(), program.variable(cost=1)
    flow: list[tuple[int, float]] = []
    worst: list[tuple[int, float]] = []
    buys, sells = {}, {}
    for one in ranges:
        symbol, most_sold = one.symbol, one.most_sold
        ask, bid, mark, limit = (float(price) for price in (symbol.ask, symbol.bid, symbol.mark, symbol.buy_limit))
        most = max(one.least_bought, min(one.most_bought, int(max(0.0, cash + income - floor) / limit)))
        bought, sold_now = program.binary(), program.binary()
        buy = buys[symbol.name] = program.variable(ask - mark, one.least_bought, most, whole=True)
        sell = sells[symbol.name] = program.variable(mark - bid, 0, most_sold, whole=True)
        program.constrain(0, (bought, most), (buy, -1))
        program.constrain(0, (sold_now, most_sold), (sell, -1))
        program.constrain(-1, (bought, -1), (sold_now, -1))
        program.constrain(0, (any_buy, 1), (bought, -1))
        miss = program.variable(cost=1)
        program.constrain(float(symbol.drift), (miss, 1), (buy, -mark), (sell, mark))
        program.constrain(-float(symbol.drift), (miss, 1), (buy, mark), (sell, -mark))
        paid = _commission(program, problem, buy, bought, ask, most, cost=1)
        paid_at_limit = _commission(program, problem, buy, bought, limit, most, cost=0)
        paid_on_sell = _commission(program, problem, sell, sold_now, bid, most_sold, cost=1)
        flow += [(buy, -ask), (paid, -1), (sell, bid), (paid_on_sell, -1)]
        worst += [(buy, -limit), (paid_at_limit, -1), (sell, bid), (paid_on_sell, -1)]
    off = cash - float(problem.cash_wanted)
    program.constrain(off, (cash_miss, 1), *((column, -factor) for column, factor in flow))
    program.constrain(-off, (cash_miss, 1), *flow)
    # Without a buy, cash may stay below the floor: at most by what is missing now plus the commissions of all sells.
    lacks = max(0.0, floor - cash) + income
    program.constrain(floor - cash - lacks, *worst, (any_buy, -lacks))
    answer = program.solve(seconds)
    if answer.x is None:
        return None
    shares = {name: round(answer.x[buys[name]]) - round(answer.x[sells[name]]) for name in buys}
    left_alone = problem.distance(moved) - sum(abs(one.symbol.drift) for one in ranges)
    return Optimum(
        {name: n for name, n in shares.items() if n}, answer.mip_dual_bound + float(left_alone), answer.status == 0
    )


def _commission(
    program: Program, problem: Problem, shares: int, moved: int, price: float, most: int, *, cost: float
) -> int:
    """Add a variable of at least the commission for the shares at a price; `moved` is 1 if any are traded."""
    fee = problem.config.commission
    paid = program.variable(cost)
    if fee.kind == "rate":
        program.constrain(0, (paid, 1), (shares, -float(fee.rate) * price))
        return paid
    # The larger of the minimum fee and the per-share fee, unless the cap (a share of the order value) is smaller.
    capped, cap = program.binary(), float(fee.max_rate) * price
    top = max(cap, float(fee.per_share)) * most + float(fee.min_per_order)
    program.constrain(0, (paid, 1), (shares, -float(fee.per_share)), (capped, top))
    program.constrain(0, (paid, 1), (moved, -float(fee.min_per_order)), (capped, top))
    program.constrain(-top, (paid, 1), (shares, -cap), (capped, -top))
    return paid
