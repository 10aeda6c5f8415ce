"""Which shares the money buys that rounding left over: a knapsack of single shares around the break.

Each symbol offers the shares next to its base, below and above, each with an exact cost in the worst case and an exact
gain. Greedy by gain per dollar finds nearly everything; a short search over the shares around the break, where
greedy had to choose, finds most of the rest.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate
from operator import itemgetter
from typing import NamedTuple

from calculator.choices import WORST, Choices
from calculator.valuation import State, Valuation

WINDOW = 30
"""Shares on each side of the break that are searched."""
ABOVE = 2
"""Shares offered above the base."""
TOLERANCE = 1_000_000
"""A gain below one part in so many of the account (a hundredth of a basis point) is not looked for."""
FREE, NEVER = -1, -2
"""In place of the number of the share below: it is taken already, or it cannot be."""
COSTS_NOTHING = float("-inf")


class Item(NamedTuple):
    """One share more of a symbol, or a few at once; `level` counts the symbol's items from its lowest.

    Sorted by gain for each unit of money, most first; what costs nothing comes before all. The rate is a float for
    sorting only; ties go by line and level, so that nothing depends on the order of rows. Money is in micro-dollars.
    """

    minus_rate: float
    line: int
    level: int
    gain: int
    cost: int
    shares: int


_Item = tuple[float, int, int, int, int, int]
"""An item without names: there are thousands of them, and most are looked at once."""


def fill(valuation: Valuation, base: State, forced: Mapping[int, int], *, below: int, nodes: int) -> State:
    """Shares of each line after spending the room above the base as well as single shares can.

    Args:
        valuation: the lines, what their shares mean, and the fewest that each keeps.
        base: whole shares to start from; what they cost can be more than there is.
        forced: lines, by number, that stay at their base.
        below: shares of each line that may be given up for others.
        nodes: how long the search around the break may be.
    """
    shares = list(base.shares)
    room = valuation.room(base)
    may_buy = below > 0 or room >= 0  # a share that is not sold can be worth less than the fee for it
    items: list[_Item] = []
    for i, (choices, n, least, most) in enumerate(
        zip(valuation.choices, base.shares, valuation.least, valuation.most, strict=True)
    ):
        if i not in forced and (may_buy or n < choices.line.whole_held):
            start = max(least, n - below) if below else n
            shares[i] = start
            room += _offer(items, i, choices, start, min(n + ABOVE, most)) - choices[n][WORST]
    items.sort(key=itemgetter(0))  # they come by line and level, and sorting keeps that
    taken, left = _greedy(items, len(shares), room)
    for k in _search(items, taken, left, nodes, valuation.money.total // TOLERANCE):
        _, line, _, _, _, more = items[k]
        shares[line] += more
    return valuation.changed(base, ((i, n) for i, n in enumerate(shares) if n != base.shares[i]))


def _offer(items: list[_Item], number: int, choices: Choices, start: int, stop: int) -> int:
    """Adds an item a share up to the target, and tells what cash the start of them comes to in the worst case.

    A share brings its value nearer to the target, and is worth what it costs itself: what is paid for it, fees as well,
    is missing in cash, which is taken to stay above what is wanted. A share that is worth more for its money than the
    one below it (a fee is paid once) goes together with it.
    """
    line, first = choices.line, len(items)
    mark, missing = line.mark, line.target - line.value_at(start)
    worst_at_start = worst = choices[start][WORST]
    n = start
    while missing > 0 and n < stop:
        n += 1
        then = choices[n][WORST]
        gain, cost, shares = 2 * (missing if missing < mark else mark), worst - then, 1
        minus_rate = -gain / cost if cost > 0 else COSTS_NOTHING
        while len(items) > first and minus_rate < items[-1][0]:
            _, _, _, gain_below, cost_below, shares_below = items.pop()
            gain, cost, shares = gain + gain_below, cost + cost_below, shares + shares_below
            minus_rate = -gain / cost if cost > 0 else COSTS_NOTHING
        items.append((minus_rate, number, len(items) - first, gain, cost, shares))
        missing -= mark
        worst = then
    return worst_at_start


def _greedy(items: Sequence[_Item], lines: int, room: int) -> tuple[list[int], int]:
    """What fits, best first: numbers of the items, rising, and the room that is left."""
    taken: list[int] = []
    levels = [0] * lines
    for k, (_, line, level, _, cost, _) in enumerate(items):
        if cost <= room and levels[line] == level:
            taken.append(k)
            levels[line] = level + 1
            room -= cost
    return taken, room


def _search(items: Sequence[_Item], taken: list[int], left: int, nodes: int, tolerance: int) -> list[int]:
    """Depth-first branch and bound over the items around the first that greedy could not take."""
    first = next((k for k, number in enumerate(taken) if number != k), len(taken))
    if first == len(items) or left < 0:
        return taken
    low, high = max(0, first - WINDOW), min(len(items), first + WINDOW)
    fixed = [k for k in taken if not low <= k < high]
    best = [k for k in taken if low <= k < high]
    window = [Item._make(item) for item in items[low:high]]
    room = left + sum(window[k - low].cost for k in best)
    below = _below(window, [Item._make(items[k]) for k in fixed])
    costs = [0, *accumulate(max(item.cost, 0) for item in window)]
    gains = [0, *accumulate(item.gain for item in window)]
    least_gain = sum(window[k - low].gain for k in best) + tolerance
    stack: list[tuple[int, int, int, tuple[int, ...]]] = [(0, room, 0, ())]
    for _ in range(nodes):
        if not stack:
            break
        k, room_left, gain, path = stack.pop()
        if gain + tolerance > least_gain:
            least_gain, best = gain + tolerance, [low + p for p in path]
        # No more can be gained than if the last share that fits could be cut to size.
        cut = bisect_right(costs, costs[k] + room_left, k) - 1
        most = gain + gains[cut] - gains[k]
        if cut < len(window):
            most += window[cut].gain * (costs[k] + room_left - costs[cut]) // window[cut].cost + 1
        if k == len(window) or most <= least_gain:
            continue
        stack.append((k + 1, room_left, gain, path))
        item = window[k]
        if item.cost <= room_left and (below[k] == FREE or below[k] in path):
            stack.append((k + 1, room_left - item.cost, gain + item.gain, (*path, k)))
    return [*fixed, *best]


def _below(window: Sequence[Item], fixed: Sequence[Item]) -> list[int]:
    """For each item of the window, which of the window has to be taken with it: the share below it."""
    known = {(item.line, item.level): FREE for item in fixed}
    known |= {(item.line, item.level): k for k, item in enumerate(window)}
    return [known.get((item.line, item.level - 1), NEVER) if item.level else FREE for item in window]
