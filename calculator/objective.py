"""What shares of every line add up to, and whether the rules allow it. All in whole micro-dollars."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from calculator.commissions import Charge
from calculator.holdings import Line
from calculator.share_options import BUYS, CASH, ERROR, WORST, ShareOptions

NO_LIMIT = 1 << 62
"""The most shares of a line that may have any number."""


@dataclass(frozen=True)
class Money:
    """Value of the account, cash with the fixed part of the plan done, the reserve, and what is wanted in cash.

    Units: micro-dollars.
    """

    total: int
    cash: int
    floor: int
    cash_target: int


class State(NamedTuple):
    """Shares of every line, with what they add up to, in micro-dollars."""

    shares: tuple[int, ...]
    error: int  # distances and costs, without the distance of cash
    cash: int  # at quotes
    worst: int  # with buys at their limits
    buys: int  # lines that buy


class Objective:
    """The lines that are sized, the fewest and the most whole shares that each may have, and the money there is.

    Lists run by the number of a line.
    """

    def __init__(
        self, lines: Sequence[Line], least: Sequence[int], most: Sequence[int], money: Money, charge: Charge
    ) -> None:
        self.lines = lines
        self.least = least
        self.most = most
        self.money = money
        self.choices = [ShareOptions(line, charge) for line in lines]

    @cached_property
    def wishes(self) -> State:
        """The most whole shares that are not above the targets, whether or not the money pays them."""
        wishes = []
        for line, least, most in zip(self.lines, self.least, self.most, strict=True):
            n = line.whole_within(line.target)
            wishes.append(least if n < least else n if n < most else most)
        return self.state(wishes)

    def state(self, shares: Sequence[int]) -> State:
        """What so many whole shares of each line add up to."""
        now = self.money.cash
        chosen = [choices[n] for choices, n in zip(self.choices, shares, strict=True)]
        errors, cash, worst, buys = zip(*chosen, strict=True) if chosen else ((), (), (), ())
        return State(tuple(shares), sum(errors), now + sum(cash), now + sum(worst), sum(buys))

    def changed(self, state: State, changes: Iterable[tuple[int, int]]) -> State:
        """The state with other whole shares of a few lines, each a line's number and its shares."""
        shares, error, cash, worst, buys = list(state.shares), state.error, state.cash, state.worst, state.buys
        for i, n in changes:
            now, then = self.choices[i][shares[i]], self.choices[i][n]
            shares[i] = n
            error += then[ERROR] - now[ERROR]
            cash += then[CASH] - now[CASH]
            worst += then[WORST] - now[WORST]
            buys += then[BUYS] - now[BUYS]
        return State(tuple(shares), error, cash, worst, buys)

    def objective(self, state: State) -> int:
        """What is made small: distances from all targets and from the cash target, and costs."""
        return state.error + abs(state.cash - self.money.cash_target)

    def is_feasible(self, state: State) -> bool:
        """Whether the reserve holds in the worst case, if anything is bought."""
        return not state.buys or state.worst >= self.money.floor

    def rank(self, state: State) -> tuple[bool, int]:
        """For sorting: what is feasible first, and of that what is nearest to the targets."""
        return not self.is_feasible(state), self.objective(state)

    def room(self, state: State) -> int:
        """What can still be spent before the reserve, or the cash that is wanted, is reached; negative: lacking."""
        return min(state.worst - self.money.floor, state.cash - self.money.cash_target)
