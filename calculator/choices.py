"""What it means for one symbol to end with so many shares."""

from dataclasses import dataclass

from calculator.commissions import CommissionTable
from calculator.holdings import Line
from calculator.values import Commission


@dataclass(frozen=True, slots=True)
class Choice:
    """A number of shares of a symbol: distance and cost, cash at quotes and in the worst case, whether it buys."""

    error: int
    cash: int
    worst: int
    buys: int


class Choices:
    """The choices of one symbol, each calculated once."""

    def __init__(self, line: Line, commission: Commission) -> None:
        self.line = line
        self._table = CommissionTable(commission)
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
        if moved > 0:
            paid = self._table.of(moved, line.ask)
            cash = -(moved * line.ask + paid)
            worst = -(moved * line.buy_limit + self._table.of(moved, line.buy_limit))
            cost = moved * (line.ask - line.mark) + paid
        else:
            paid = self._table.of(-moved, line.bid)
            cash = worst = -moved * line.bid - paid
            cost = -moved * (line.mark - line.bid) + paid
        return Choice(line.miss_at(shares) + cost, cash, worst, int(moved > 0))
