"""What it means for one symbol to end with so many shares."""

from calculator.commissions import Charge
from calculator.holdings import Line

ShareOption = tuple[int, int, int, int]
"""Distance from the target and cost, cash at quotes, cash in the worst case (all in micro-dollars), 1 if it buys.

A plain tuple, since a plan makes a hundred of them for each symbol.
"""
ERROR, CASH, WORST, BUYS = range(4)


class ShareOptions(dict[int, ShareOption]):
    """The choices of one symbol by whole shares in place of those that are held, each calculated once."""

    __slots__ = ("_charge", "line")

    def __init__(self, line: Line, charge: Charge) -> None:
        self.line = line
        self._charge = charge

    def __missing__(self, shares: int) -> ShareOption:
        """Calculates a choice that nobody has asked for yet."""
        line, charge = self.line, self._charge
        moved = shares - line.whole_held
        grown = moved * line.mark
        miss = abs(line.value + grown - line.target)
        choice: ShareOption
        if moved > 0:
            asked, limit = moved * line.ask, moved * line.buy_limit
            cash = -asked - charge(moved, asked)
            choice = miss - grown - cash, cash, -limit - charge(moved, limit), 1
        elif moved < 0:
            cash = -moved * line.bid
            cash -= charge(-moved, cash)
            choice = miss - grown - cash, cash, cash, 0
        else:
            choice = miss, 0, 0, 0
        self[shares] = choice
        return choice

    def fitting(self, room: int, near: int, least: int) -> tuple[int, ...]:
        """Shares worth a look when so much may be spent: those nearest to the target, and the most that fit."""
        line = self.line
        price = line.buy_limit if room >= 0 else line.bid
        fit = max(least, line.whole_held + room // price)
        return (near, near + 1, min(fit, near + 1), max(least, min(fit, near + 1) - 1))
