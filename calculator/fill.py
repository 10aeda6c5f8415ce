"""Which shares the money buys that rounding left over: a knapsack of single shares around the break.

Each symbol offers the share below its base and the next two above, each with an exact cost in the worst case and an
exact gain. Greedy by gain per dollar finds nearly everything; a short search over the shares around the break, where
greedy had to choose, finds most of the rest.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from calculator.choices import Choices
from calculator.valuation import Valuation

WINDOW = 30
"""Shares on each side of the break that are searched."""
ABOVE = 2
"""Shares offered above the base."""
TOLERANCE = 1_000_000
"""A gain below one part in so many of the account (a hundredth of a basis point) is not looked for."""
FREE, NEVER = -1, -2
"""In place of the number of the share below: it is taken already, or it cannot be."""


class Item(NamedTuple):
    """One share more of a symbol, or a few at once; `level` counts the symbol's items from its lowest.

    Sorts by gain for each unit of money, most first; what costs nothing comes before all. The rate is a float for
    sorting only; ties go by line and level, so that nothing depends on the order of rows.
    """

    minus_rate: float
    line: int
    level: int
    gain: int
    cost: int
    shares: int


def fill(
    valuation: Valuation, base: Sequence[int], room: int, forced: Mapping[int, int], *, below: int, nodes: int
) -> list[int]:
    """Shares of each line after spending the room above the base as well as single shares can.

    Args:
        valuation: the lines, what their shares mean, and the fewest that each keeps.
        base: whole shares to start from.
        room: money that may be spent above the base, in micro-dollars of the worst case; can be negative.
        forced: lines, by number, that stay at their base.
        below: shares of each line that may be given up for others.
        nodes: how long the search around the break may be.
    """
    shares = list(base)
    items: list[Item] = []
    for line, choices in enumerate(valuation.choices):
        if line in forced:
            continue
        shares[line] = start = max(valuation.least[line], base[line] - below)
        room += choices.at(start).worst - choices.at(base[line]).worst
        _offer(items, line, choices, start, min(base[line] + ABOVE, valuation.most[line]))
    items.sort()
    taken, left = _greedy(items, len(shares), room)
    for k in _search(items, taken, left, nodes, valuation.money.total // TOLERANCE):
        shares[items[k].line] += items[k].shares
    return shares


def _offer(items: list[Item], line: int, choices: Choices, start: int, stop: int) -> None:
    """Adds an item a share, as long as each is a gain; cash is taken to stay above what is wanted.

    A share that is worth more for its money than the one below it (a fee is paid once) goes together with it.
    """
    first = len(items)
    now = choices.at(start)
    for n in range(start, stop):
        then = choices.at(n + 1)
        gain = (now.error - then.error) + (now.cash - then.cash)
        if gain <= 0:
            break
        item = _item(line, len(items) - first, gain, now.worst - then.worst, 1)
        while len(items) > first and item.minus_rate < items[-1].minus_rate:
            below = items.pop()
            item = _item(line, below.level, below.gain + item.gain, below.cost + item.cost, below.shares + item.shares)
        items.append(item)
        now = then


def _item(line: int, level: int, gain: int, cost: int, shares: int) -> Item:
    return Item(-gain / cost if cost > 0 else float("-inf"), line, level, gain, cost, shares)


def _greedy(items: Sequence[Item], lines: int, room: int) -> tuple[list[int], int]:
    """What fits, best first: numbers of the items, rising, and the room that is left."""
    taken: list[int] = []
    levels = [0] * lines
    for k, (_, line, level, _, cost, _) in enumerate(items):
        if cost <= room and levels[line] == level:
            taken.append(k)
            levels[line] = level + 1
            room -= cost
    return taken, room


def _search(items: Sequence[Item], taken: list[int], left: int, nodes: int, tolerance: int) -> list[int]:
    """Depth-first branch and bound over the items around the first that greedy could not take."""
    first = next((k for k, number in enumerate(taken) if number != k), len(taken))
    if first == len(items):
        return taken
    low, high = max(0, first - WINDOW), min(len(items), first + WINDOW)
    fixed = [k for k in taken if not low <= k < high]
    best = [k for k in taken if low <= k < high]
    room = left + sum(items[k].cost for k in best)
    window = items[low:high]
    below = _below(window, [items[k] for k in fixed])
    best_gain = sum(items[k].gain for k in best)
    stack: list[tuple[int, int, int, tuple[int, ...]]] = [(0, room, 0, ())]
    for _ in range(nodes):
        if not stack:
            break
        k, room_left, gain, path = stack.pop()
        if gain > best_gain:
            best_gain, best = gain, [low + p for p in path]
        if k == len(window) or gain + _bound(window, k, room_left) <= best_gain + tolerance:
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


def _bound(window: Sequence[Item], k: int, room: int) -> int:
    """No more than this can still be gained: as if the last share could be cut to size."""
    gain = 0
    for at in range(k, len(window)):
        item = window[at]
        cost = item.cost
        if cost > room:
            return gain + item.gain * max(room, 0) // max(cost, 1) + 1
        room -= cost
        gain += item.gain
    return gain
