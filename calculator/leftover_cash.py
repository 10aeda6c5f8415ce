"""Spend the cash that rounding down left over: a knapsack of single shares.

Each symbol offers the shares just below and above its base, each with an exact worst-case cost and an exact gain. A
greedy pass by gain per dollar finds most of the optimum; a short branch and bound around the first share that the
greedy pass could not take finds most of the rest.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate
from operator import itemgetter

from calculator.objective import Objective, State
from calculator.share_options import WORST_CASH, ShareOptions

WINDOW = 30
"""Items on each side of the first one that greedy could not take that are searched."""
ABOVE = 2
"""Number of shares offered above the base."""
TOLERANCE = 1_000_000
"""Smallest gain that is searched for, as a divisor of the account value: a hundredth of a basis point."""
FREE, NEVER = -1, -2
"""Markers in place of the index of the share below: already taken, or never available."""
COSTS_NOTHING = float("-inf")


_Item = tuple[float, int, int, int, int, int]
"""One more share of a symbol, or several at once: negative rate, line index, level, gain, cost, shares.

The level counts the items of a symbol from the lowest. Items are sorted by rate (gain per unit of cost), highest first;
items without a cost come first. The rate is a float for sorting only. Ties are ordered by line and level, so that the
result does not depend on the order of input rows. Money is in micro-dollars. A tuple, because a plan has thousands.
"""


def spend_leftover_cash(
    objective: Objective, base: State, forced: Mapping[int, int], *, below: int, nodes: int
) -> State:
    """Return the shares of each line after spending the cash left above the base on single shares.

    Args:
        objective: the lines, with their options and minimum shares.
        base: whole shares to start from; they can cost more than the cash.
        forced: line indexes that stay at their base.
        below: shares of each line that may be given up for others.
        nodes: maximum number of branch-and-bound nodes.
    """
    room = objective.room(base)
    if room < 0 and not below:
        return base
    shares = list(base.shares)
    items: list[_Item] = []
    for i, (options, n, maximum) in enumerate(zip(objective.options, base.shares, objective.maximum, strict=True)):
        if i in forced:
            continue
        start, stop = n, n + ABOVE
        if below:
            start = shares[i] = max(objective.minimum[i], n - below)
            room += options[start][WORST_CASH] - options[n][WORST_CASH]
        _offer(items, i, options, start, stop if stop < maximum else maximum)
    items.sort(key=itemgetter(0))  # they come by line and level, and sorting keeps that
    taken, left = _greedy(items, len(shares), room)
    for k in _search(items, taken, left, nodes, objective.money.total // TOLERANCE):
        _, line, _, _, _, more = items[k]
        shares[line] += more
    return objective.changed(base, [(i, n) for i, n in enumerate(shares) if n != base.shares[i]])


def _offer(items: list[_Item], number: int, options: ShareOptions, start: int, stop: int) -> None:
    """Add one item per share up to the target.

    The gain of a share is the value that it moves closer to the target, plus its cost, because cash is assumed to stay
    above its target. A share with a better rate than the one below it (a fee is paid once) is combined with it.
    """
    line = options.line
    mark = line.mark
    missing = line.target - line.value - (start - line.whole_held) * mark
    level, n, worst_cash = 0, start, options[start][WORST_CASH]
    while missing > 0 and n < stop:
        n += 1
        then = options[n][WORST_CASH]
        gain, cost, shares = 2 * (missing if missing < mark else mark), worst_cash - then, 1
        minus_rate = -gain / cost if cost > 0 else COSTS_NOTHING
        while level and minus_rate < items[-1][0]:
            _, _, level, gain_below, cost_below, shares_below = items.pop()
            gain, cost, shares = gain + gain_below, cost + cost_below, shares + shares_below
            minus_rate = -gain / cost if cost > 0 else COSTS_NOTHING
        items.append((minus_rate, number, level, gain, cost, shares))
        level += 1
        missing -= mark
        worst_cash = then


def _greedy(items: Sequence[_Item], lines: int, room: int) -> tuple[list[int], int]:
    """Take the items that fit, best rate first; return their indexes in rising order and the cash left."""
    taken: list[int] = []
    levels = [0] * lines
    for k, (_, line, level, _, cost, _) in enumerate(items):
        if cost <= room and levels[line] == level:
            taken.append(k)
            levels[line] = level + 1
            room -= cost
    return taken, room


def _search(items: Sequence[_Item], taken: list[int], left: int, nodes: int, tolerance: int) -> list[int]:
    """Search depth-first, with branch and bound, over the items around the first one that greedy could not take."""
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
    # A node: the next item to decide, the cash and gain so far, and the taken items as bits of an integer.
    k, gain, path = 0, 0, 0
    left_out: list[tuple[int, int, int, int]] = []
    for _ in range(nodes):
        if gain + tolerance > least_gain:
            least_gain, best = gain + tolerance, path
        # Upper bound: the gain if the last item could be taken in part.
        cut = bisect_right(cost_sums, cost_sums[k] + room, k) - 1
        maximum = gain + gain_sums[cut] - gain_sums[k]
        if cut < last:
            maximum += gains[cut] * (cost_sums[k] + room - cost_sums[cut]) // costs[cut] + 1
        if k < last and maximum > least_gain:
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
    """Return for each item of the window the index of the item that it requires: the share below it."""
    known = {items[k][1:3]: FREE for k in taken if not low <= k < high}
    known |= {items[k][1:3]: k - low for k in range(low, high)}
    return [known.get((line, level - 1), NEVER) if level else FREE for _, line, level, _, _, _ in items[low:high]]
