"""What it means for one symbol to end with so many shares."""

from calculator.commissions import CommissionTable
from calculator.holdings import Line

Choice = tuple[int, int, int, int]
"""Distance from the target and cost, cash at quotes, cash in the worst case (all in micro-dollars), 1 if it buys.

A plain tuple, since a plan makes a hundred of them for each symbol.
"""
ERROR, CASH, WORST, BUYS = range(4)


class Choices(dict[int, Choice]):
    """The choices of one symbol by whole shares in place of those that are held, each calculated once."""

    __slots__ = ("_commission", "line")

    def __init__(self, line: Line, table: CommissionTable) -> None:
        self.line = line
        self._commission = table.of

    def __missing__(self, shares: int) -> Choice:
        """Calculates a choice that nobody has asked for yet."""
        line, commission = self.line, self._commission
        moved, mark = shares - line.whole_held, line.mark
        miss = abs(line.value + moved * mark - line.target)
        choice = miss, 0, 0, 0
        if moved > 0:
            price, limit = line.ask, line.buy_limit
            paid = commission(moved, price)
            choice = (
                miss + moved * (price - mark) + paid,
                -moved * price - paid,
                -moved * limit - commission(moved, limit),
                1,
            )
        elif moved < 0:
            price = line.bid
            paid = commission(-moved, price)
            brought = -moved * price - paid
            choice = miss + moved * (price - mark) + paid, brought, brought, 0
        self[shares] = choice
        return choice

    def worst(self, shares: int) -> int:
        """Cash of a choice in the worst case only."""
        if known := self.get(shares):
            return known[WORST]
        line = self.line
        moved = shares - line.whole_held
        if moved > 0:
            return -moved * line.buy_limit - self._commission(moved, line.buy_limit)
        return -moved * line.bid - self._commission(-moved, line.bid)

    def fitting(self, room: int, least: int) -> tuple[int, ...]:
        """Shares worth a look when so much may be spent: those next to the target, and the most that fit."""
        line = self.line
        near = max(least, line.whole_within(line.target))
        price = line.buy_limit if room >= 0 else line.bid
        fit = max(least, line.whole_held + room // price)
        return (near, near + 1, min(fit, near + 1), max(least, min(fit, near + 1) - 1))
