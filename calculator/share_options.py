"""The outcome for one symbol of ending with a given number of shares."""

from calculator.commissions import Charge
from calculator.line import Line

ShareOption = tuple[int, int, int, int]
"""Distance from target plus weighted cost, cash at quotes, worst-case cash (all in micro-dollars), and 1 if it buys.

A tuple, because a plan makes about a hundred per symbol.
"""
ERROR, CASH, WORST_CASH, BUYS = range(4)


class ShareOptions(dict[int, ShareOption]):
    """The options of one symbol by final whole shares, each calculated on first use."""

    __slots__ = ("_charge", "_cost_weight", "line")

    def __init__(self, line: Line, charge: Charge, cost_weight: int) -> None:
        self.line = line
        self._charge = charge
        self._cost_weight = cost_weight

    def __missing__(self, shares: int) -> ShareOption:
        """Calculate an option on its first use."""
        line, charge = self.line, self._charge
        moved = shares - line.whole_held
        grown = moved * line.mark
        miss = abs(line.value + grown - line.target)
        option: ShareOption
        if moved > 0:
            asked, limit = moved * line.ask, moved * line.buy_limit
            cash = -asked - charge(moved, asked)
            option = miss - self._cost_weight * (grown + cash), cash, -limit - charge(moved, limit), 1
        elif moved < 0:
            cash = -moved * line.bid
            cash -= charge(-moved, cash)
            option = miss - self._cost_weight * (grown + cash), cash, cash, 0
        else:
            option = miss, 0, 0, 0
        self[shares] = option
        return option

    def fitting(self, room: int, near: int, minimum: int, maximum: int) -> tuple[int, ...]:
        """Return the shares worth trying with `room` to spend: those nearest to the target, and the most that fit."""
        line = self.line
        price = line.buy_limit if room >= 0 else line.bid
        above = min(near + 1, maximum)
        fit = min(max(minimum, line.whole_held + room // price), above)
        return (near, above, fit, max(minimum, fit - 1))
