"""Which shares the money buys that rounding left over: a knapsack of single shares around the break.

Each symbol offers the share below its base and the next two above, each with an exact cost in the worst case and an
exact gain. Greedy by gain per dollar finds nearly everything; a short search over the shares around the break, where
greedy had to choose, finds most of the rest.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from calculator.choices import Choices

WINDOW = 30
"""Shares on each side of the break that are searched."""
NODES = 1_500


@dataclass(frozen=True)
class Item:
    """One share more of a symbol; `level` counts the symbol's items from its lowest."""

    line: int
    level: int
    gain: int
    cost: int

    @property
    def rate(self) -> float:
        """Gain for each unit of money; what costs nothing comes first."""
        return self.gain / self.cost if self.cost > 0 else float("inf")


def fill(choices: Sequence[Choices], base: Sequence[int], least: Sequence[int], room: int) -> list[int]:
    """Shares of each line after spending the room above the base as well as single shares can.

    Args:
        choices: what each line's shares mean.
        base: whole shares to start from.
        least: fewest shares that a line keeps.
        room: money that may be spent above the base, in micro-dollars of the worst case; can be negative.
    """
    shares = [max(floor, n - 1) for n, floor in zip(base, least, strict=True)]
    items: list[Item] = []
    for line, (choice, start, n) in enumerate(zip(choices, shares, base, strict=True)):
        room += choice.at(n).worst * -1 + choice.at(start).worst
        items += _items(line, choice, start, n + 2)
    # Rates are floats for sorting only; ties go by line and level, so that nothing depends on the order of rows.
    items.sort(key=lambda item: (-item.rate, item.line, item.level))
    taken, left = _greedy(items, room)
    taken = _search(items, taken, left)
    for k in taken:
        shares[items[k].line] += 1
    return shares


def _items(line: int, choice: Choices, start: int, stop: int) -> list[Item]:
    """One item a share, as long as each is a gain; cash is taken to stay above what is wanted."""
    found: list[Item] = []
    for n in range(start, stop):
        now, then = choice.at(n), choice.at(n + 1)
        gain = (now.error - then.error) + (now.cash - then.cash)
        if gain <= 0:
            break
        found.append(Item(line, n - start, gain, now.worst - then.worst))
    return found


def _greedy(items: Sequence[Item], room: int) -> tuple[set[int], int]:
    taken: set[int] = set()
    levels: dict[int, int] = {}
    for k, item in enumerate(items):
        if item.cost <= room and levels.get(item.line, 0) == item.level:
            taken.add(k)
            levels[item.line] = item.level + 1
            room -= item.cost
    return taken, room


def _search(items: Sequence[Item], taken: set[int], left: int) -> set[int]:
    """Depth-first branch and bound over the items around the first that greedy could not take."""
    first = next((k for k in range(len(items)) if k not in taken), None)
    if first is None:
        return taken
    low, high = max(0, first - WINDOW), min(len(items), first + WINDOW)
    window = items[low:high]
    fixed = {k for k in taken if not low <= k < high}
    inside = [k for k in taken if low <= k < high]
    room = left + sum(items[k].cost for k in inside)
    best_gain, best = sum(items[k].gain for k in inside), inside
    levels: dict[int, int] = {}
    for k in fixed:
        levels[items[k].line] = levels.get(items[k].line, 0) + 1
    nodes = 0
    stack: list[tuple[int, int, int, tuple[int, ...]]] = [(0, room, 0, ())]
    while stack and nodes < NODES:
        nodes += 1
        k, room_left, gain, path = stack.pop()
        if gain > best_gain:
            best_gain, best = gain, list(path)
        if k == len(window) or gain + _bound(window, k, room_left) <= best_gain:
            continue
        item = window[k]
        stack.append((k + 1, room_left, gain, path))
        level = levels.get(item.line, 0) + sum(items[p].line == item.line for p in path)
        if item.cost <= room_left and level == item.level:
            stack.append((k + 1, room_left - item.cost, gain + item.gain, (*path, low + k)))
    return fixed | set(best)


def _bound(window: Sequence[Item], k: int, room: int) -> int:
    """No more than this can still be gained: as if the last share could be cut to size."""
    gain = 0
    for item in window[k:]:
        if item.cost > room:
            return gain + item.gain * max(room, 0) // max(item.cost, 1) + 1
        room -= item.cost
        gain += item.gain
    return gain
