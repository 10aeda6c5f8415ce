"""Solve the sizing problem exactly by mixed-integer programming (HiGHS through scipy)."""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import coo_matrix

from benchmarks.calculator.problem import Problem


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


def optimum(problem: Problem, seconds: float = 10) -> Optimum | None:
    """Return the best trades under the rules of the plan, or None when the solver found no solution in time."""
    program = Program()
    cash = float(problem.cash_after(problem.liquidations, worst=False))
    floor = float(problem.floor)
    sold = [max(0, symbol.whole - problem.least(symbol)) for symbol in problem.free]
    income = sum(shares * float(symbol.bid) for shares, symbol in zip(sold, problem.free, strict=True))
    any_buy, cash_miss = program.binary(), program.variable(cost=1)
    flow: list[tuple[int, float]] = []
    worst: list[tuple[int, float]] = []
    buys, sells = {}, {}
    for symbol, most_sold in zip(problem.free, sold, strict=True):
        needed = max(0, problem.least(symbol) - symbol.whole)
        most = max(needed, int(max(0.0, cash + income - floor) / float(symbol.buy_limit)))
        bought, sold_now = program.binary(), program.binary()
        ask, bid, mark, limit = (float(price) for price in (symbol.ask, symbol.bid, symbol.mark, symbol.buy_limit))
        buy = buys[symbol.name] = program.variable(ask - mark, needed, most, whole=True)
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
    moved = {name: round(answer.x[buys[name]]) - round(answer.x[sells[name]]) for name in buys}
    left_alone = problem.error(problem.liquidations) - sum(abs(symbol.drift) for symbol in problem.free)
    left_alone -= abs(problem.cash_after(problem.liquidations, worst=False) - problem.cash_wanted)
    return Optimum(
        {**problem.liquidations, **{name: shares for name, shares in moved.items() if shares}},
        answer.mip_dual_bound + float(left_alone),
        answer.status == 0,
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
