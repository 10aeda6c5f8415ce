"""The value of a set of shares: error, cash and feasibility. All amounts are integer micro-dollars."""

from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from calculator.commissions import Charge
from calculator.line import Line
from calculator.share_options import BUYS, CASH, ERROR, WORST_CASH, ShareOptions


@dataclass(frozen=True)
class Money:
    """Account value, cash after the fixed part of the plan, cash floor and cash target, in micro-dollars."""

    total: int
    cash: int
    cash_floor: int
    cash_target: int


class State(NamedTuple):
    """Shares of every line with their totals, in micro-dollars."""

    shares: tuple[int, ...]
    error: int  # distances from the targets and costs, without the distance of cash
    cash: int  # at quotes
    worst_cash: int  # with buys at their limit prices
    buys: int  # number of lines that buy


class Objective:
    """The lines to size, the minimum and maximum whole shares of each, and the cash. Lists are indexed by line.

    Costs count `cost_weight` times in the error.
    """

    def __init__(
        self,
        lines: Sequence[Line],
        minimum: Sequence[int],
        maximum: Sequence[int],
        money: Money,
        charge: Charge,
        cost_weight: int = 1,
    ) -> None:
        self.lines = lines
        self.minimum = minimum
        self.maximum = maximum
        self.money = money
        self.options = [ShareOptions(line, charge, cost_weight) for line in lines]

    def within(self, minimum: Sequence[int], maximum: Sequence[int]) -> "Objective":
        """Return the same lines and cash with other bounds."""
        other = copy(self)
        other.minimum, other.maximum = minimum, maximum
        other.__dict__.pop("ideal", None)
        return other

    @cached_property
    def ideal(self) -> State:
        """Return the most whole shares at or below the targets, whether or not the cash pays for them."""
        ideal = []
        for line, minimum, maximum in zip(self.lines, self.minimum, self.maximum, strict=True):
            n = line.whole_within(line.target)
            ideal.append(minimum if n < minimum else n if n < maximum else maximum)
        return self.state(ideal)

    def state(self, shares: Sequence[int]) -> State:
        """Return the totals for the given whole shares of each line."""
        now = self.money.cash
        chosen = [options[n] for options, n in zip(self.options, shares, strict=True)]
        errors, cash, worst_cash, buys = zip(*chosen, strict=True) if chosen else ((), (), (), ())
        return State(tuple(shares), sum(errors), now + sum(cash), now + sum(worst_cash), sum(buys))

    def changed(self, state: State, changes: Iterable[tuple[int, int]]) -> State:
        """Return the state with new whole shares for a few lines, given as pairs of line index and shares."""
        shares, error, cash, worst_cash, buys = (
            list(state.shares),
            state.error,
            state.cash,
            state.worst_cash,
            state.buys,
        )
        for i, n in changes:
            now, then = self.options[i][shares[i]], self.options[i][n]
            shares[i] = n
            error += then[ERROR] - now[ERROR]
            cash += then[CASH] - now[CASH]
            worst_cash += then[WORST_CASH] - now[WORST_CASH]
            buys += then[BUYS] - now[BUYS]
        return State(tuple(shares), error, cash, worst_cash, buys)

    def total_error(self, state: State) -> int:
        """Return the value to minimise: distances from all targets and from the cash target, plus costs."""
        return state.error + abs(state.cash - self.money.cash_target)

    def is_feasible(self, state: State) -> bool:
        """Return whether cash stays at or above the floor in the worst case, if anything is bought."""
        return not state.buys or state.worst_cash >= self.money.cash_floor

    def rank(self, state: State) -> tuple[bool, int]:
        """Return a sort key: feasible states first, then by total error."""
        return not self.is_feasible(state), self.total_error(state)

    def room(self, state: State) -> int:
        """Return the cash that can be spent before the floor or the cash target is reached; negative is a shortage."""
        return min(state.worst_cash - self.money.cash_floor, state.cash - self.money.cash_target)
