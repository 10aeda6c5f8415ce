"""Which shares the money buys that rounding left over: a knapsack of single shares around the break.

Each symbol offers the shares next to its base, below and above, each with an exact cost in the worst case and an exact
gain. Greedy by gain per dollar finds nearly everything; a short search over the shares around the break, where
greedy had to choose, finds most of the rest.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate
from operator import itemgetter

from calculator.objective import Objective, State
from calculator.share_options import WORST, ShareOptions

WINDOW = 30
"""Shares on each side of the break that are searched."""
ABOVE = 2
"""Shares offered above the base."""
TOLERANCE = 1_000_000
"""A gain below one part in so many of the account (a hundredth of a basis point) is not looked for."""
FREE, NEVER = -1, -2
"""In place of the number of the share below: it is taken already, or it cannot be."""
COSTS_NOTHING = float("-inf")


_Item = tuple[float, int, int, int, int, int]
"""One share more of a symbol, or a few at once: minus its rate, its line, its level, gain, cost, and shares.

The level counts the symbol's items from its lowest. Sorted by rate, the gain for each unit of money, most first; what
costs nothing comes before all. The rate is a float for sorting only; ties go by line and level, so that nothing depends
on the order of rows. Money is in micro-dollars. A plain tuple, since there are thousands of them.
"""


def spend_leftover_cash(
    valuation: Objective, base: State, forced: Mapping[int, int], *, below: int, nodes: int
) -> State:
    """Shares of each line after spending the room above the base as well as single shares can.

    Args:
        valuation: the lines, what their shares mean, and the fewest that each keeps.
        base: whole shares to start from; what they cost can be more than there is.
        forced: lines, by number, that stay at their base.
        below: shares of each line that may be given up for others.
        nodes: how long the search around the break may be.
    """
    room = valuation.room(base)
    if room < 0 and not below:
        return base
    shares = list(base.shares)
    items: list[_Item] = []
    for i, (choices, n, most) in enumerate(zip(valuation.choices, base.shares, valuation.most, strict=True)):
        if i in forced:
            continue
        start, stop = n, n + ABOVE
        if below:
            start = shares[i] = max(valuation.least[i], n - below)
            room += choices[start][WORST] - choices[n][WORST]
        _offer(items, i, choices, start, stop if stop < most else most)
    items.sort(key=itemgetter(0))  # they come by line and level, and sorting keeps that
    taken, left = _greedy(items, len(shares), room)
    for k in _search(items, taken, left, nodes, valuation.money.total // TOLERANCE):
        _, line, _, _, _, more = items[k]
        shares[line] += more
    return valuation.changed(base, [(i, n) for i, n in enumerate(shares) if n != base.shares[i]])


def _offer(items: list[_Item], number: int, choices: ShareOptions, start: int, stop: int) -> None:
    """Adds an item a share up to the target.

    A share brings its value nearer to the target, and is worth what it costs itself: what is paid for it, fees as well,
    is missing in cash, which is taken to stay above what is wanted. A share that is worth more for its money than the
    one below it (a fee is paid once) goes together with it.
    """
    line = choices.line
    mark = line.mark
    missing = line.target - line.value - (start - line.whole_held) * mark
    level, n, worst = 0, start, choices[start][WORST]
    while missing > 0 and n < stop:
        n += 1
        then = choices[n][WORST]
        gain, cost, shares = 2 * (missing if missing < mark else mark), worst - then, 1
        minus_rate = -gain / cost if cost > 0 else COSTS_NOTHING
        while level and minus_rate < items[-1][0]:
            _, _, level, gain_below, cost_below, shares_below = items.pop()
            gain, cost, shares = gain + gain_below, cost + cost_below, shares + shares_below
            minus_rate = -gain / cost if cost > 0 else COSTS_NOTHING
        items.append((minus_rate, number, level, gain, cost, shares))
        level += 1
        missing -= mark
        worst = then


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
    window = items[low:high]
    in_window = [k - low for k in taken if low <= k < high]
    gains, costs = [gain for _, _, _, gain, _, _ in window], [cost for _, _, _, _, cost, _ in window]
    room = left + sum([costs[k] for k in in_window])
    least_gain = sum([gains[k] for k in in_window]) + tolerance
    cost_sums = [0, *accumulate([cost if cost > 0 else 0 for cost in costs])]
    gain_sums = [0, *accumulate(gains)]
    below: list[int] = []
    last = len(window)
    best = -1
    # A node: the item that is decided next, the room and the gain by then, and the items taken as bits of a number.
    k, gain, path = 0, 0, 0
    left_out: list[tuple[int, int, int, int]] = []
    for _ in range(nodes):
        if gain + tolerance > least_gain:
            least_gain, best = gain + tolerance, path
        # No more can be gained than if the last share that fits could be cut to size.
        cut = bisect_right(cost_sums, cost_sums[k] + room, k) - 1
        most = gain + gain_sums[cut] - gain_sums[k]
        if cut < last:
            most += gains[cut] * (cost_sums[k] + room - cost_sums[cut]) // costs[cut] + 1
        if k < last and most > least_gain:
            below = below or _below(items, low, high, taken)
            cost = costs[k]
            if cost <= room and (below[k] == FREE or (below[k] >= 0 and path >> below[k] & 1)):
                left_out.append((k + 1, room, gain, path))
                room, gain, path = room - cost, gain + gains[k], path | 1 << k
            k += 1
        elif left_out:
            k, room, gain, path = left_out.pop()
        else:
            break
    if best < 0:
        return taken
    return [*(k for k in taken if not low <= k < high), *(low + k for k in range(last) if best >> k & 1)]


def _below(items: Sequence[_Item], low: int, high: int, taken: Sequence[int]) -> list[int]:
    """For each item of the window, which of the window has to be taken with it: the share below it."""
    known = {items[k][1:3]: FREE for k in taken if not low <= k < high}
    known |= {items[k][1:3]: k - low for k in range(low, high)}
    return [known.get((line, level - 1), NEVER) if level else FREE for _, line, level, _, _, _ in items[low:high]]
