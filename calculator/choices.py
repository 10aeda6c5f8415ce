"""What it means for one symbol to end with so many shares."""

from typing import NamedTuple

from calculator.commissions import CommissionTable
from calculator.holdings import Line


class Choice(NamedTuple):
    """A number of shares of a symbol: distance and cost, cash at quotes and in the worst case, whether it buys."""

    error: int
    cash: int
    worst: int
    buys: int


class Choices:
    """The choices of one symbol, each calculated once."""

    __slots__ = ("_known", "_nearest", "_table", "line")

    def __init__(self, line: Line, table: CommissionTable) -> None:
        self.line = line
        self._table = table
        self._known: dict[int, Choice] = {}
        self._nearest = line.whole_held + (line.target - line.value) // line.mark

    def at(self, shares: int) -> Choice:
        """The choice of so many whole shares in place of those that are held."""
        choice = self._known.get(shares)
        if choice is None:
            choice = self._known[shares] = self._make(shares)
        return choice

    def fitting(self, room: int, least: int) -> tuple[int, ...]:
        """Shares worth a look when so much may be spent: those next to the target, and the most that fit."""
        line = self.line
        near = max(least, self._nearest)
        price = line.buy_limit if room >= 0 else line.bid
        fit = max(least, line.whole_held + room // price)
        return (near, near + 1, min(fit, near + 1), max(least, min(fit, near + 1) - 1))

    def _make(self, shares: int) -> Choice:
        line = self.line
        moved = shares - line.whole_held
        miss = abs(line.value + moved * line.mark - line.target)
        if moved > 0:
            at_ask, at_limit = moved * line.ask, moved * line.buy_limit
            paid = self._table.of(moved, line.ask)
            worst = -at_limit - self._table.of(moved, line.buy_limit)
            return Choice(miss + at_ask - moved * line.mark + paid, -at_ask - paid, worst, 1)
        at_bid = moved * line.bid
        paid = self._table.of(-moved, line.bid)
        return Choice(miss + at_bid - moved * line.mark + paid, -at_bid - paid, -at_bid - paid, 0)
