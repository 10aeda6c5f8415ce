"""Whole shares at or below the targets that the money pays; a shortage is spread in proportion to the targets."""

from collections.abc import Mapping, Sequence

from calculator.objective import Objective, State
from calculator.share_options import CASH, ERROR, WORST

ONE = 1 << 40
"""A factor of one: factors are whole numbers of so many parts, so that nothing depends on rounding."""
PINS, TRIES = 4, 6
BISECTIONS = 12

_Step = tuple[int, str, int, int]
"""The factor from which a buy takes part, its symbol, and what it adds to the slope and to the money to spend."""


def can_be_paid(valuation: Objective, forced: Mapping[int, int]) -> bool:
    """Whether the money is enough for the forced shares once all else is sold that may be."""
    return valuation.is_feasible(valuation.state([forced.get(i, least) for i, least in enumerate(valuation.least)]))


def affordable_shares(valuation: Objective, wishes: State, forced: Mapping[int, int]) -> State:
    """The wishes if the money pays them; else the buys, and if that is not enough everything, scaled by one factor.

    Args:
        valuation: the lines and the money.
        wishes: shares that are not above the targets, but for those that are forced.
        forced: shares by the number of a line, where they are given.
    """
    if valuation.is_feasible(wishes):
        return wishes
    pinned = dict(forced)
    for _ in range(PINS):
        base = _affordable(valuation, wishes, pinned)
        room = base.worst - valuation.money.floor
        # Rounding down the dear ones frees money that the others' factor did not count on.
        too_dear = {
            i: n
            for i, (line, n, wish) in enumerate(zip(valuation.lines, base.shares, wishes.shares, strict=True))
            if n < wish and line.buy_limit > room and i not in pinned
        }
        if not too_dear:
            break
        pinned |= too_dear
        wishes = valuation.changed(wishes, too_dear.items())
    return base


def made_up_by_one(valuation: Objective, wishes: State, forced: Mapping[int, int]) -> State:
    """The wishes with what is lacking taken from the one line that is best for it; as they are, where none is enough.

    Small shares are change for dear ones.
    """
    lacking = valuation.money.floor - wishes.worst
    best_value: int | None = None
    best: tuple[tuple[int, int], ...] = ()
    for i, (choices, wish, least) in enumerate(zip(valuation.choices, wishes.shares, valuation.least, strict=True)):
        if i in forced:
            continue
        error, cash, worst, _ = choices[wish]
        line = choices.line
        price = line.buy_limit if wish > line.whole_held else line.bid
        n = wish + -lacking // price
        if n >= least and choices[n][WORST] - worst < lacking:
            n -= 1  # commissions, or a sell in place of a buy
        if n < least or choices[n][WORST] - worst < lacking:
            continue
        value = choices[n][ERROR] - error + abs(wishes.cash + choices[n][CASH] - cash - valuation.money.cash_target)
        if best_value is None or value < best_value:
            best_value, best = value, ((i, n),)
    return valuation.changed(wishes, best)


def _affordable(valuation: Objective, wishes: State, forced: Mapping[int, int]) -> State:
    buys = [
        i
        for i, (wish, line) in enumerate(zip(wishes.shares, valuation.lines, strict=True))
        if wish > line.whole_held and i not in forced
    ]
    spare, steps = _steps(valuation, wishes, buys)
    lacking = 0
    for attempt in range(TRIES):
        base = _with_buys_scaled(valuation, wishes, buys, _factor(spare - lacking, steps))
        if valuation.is_feasible(base):
            return base
        # Commissions, and shares that could not be fewer; doubled, since little can be hidden by the rounding.
        lacking += (valuation.money.floor - base.worst) << attempt
    base = _with_buys_scaled(valuation, wishes, buys, 0)
    return base if valuation.is_feasible(base) else _with_all_scaled(valuation, base, forced)


def _steps(valuation: Objective, wishes: State, buys: Sequence[int]) -> tuple[int, list[_Step]]:
    """What may be spent on the buys that scale, and those buys by the factor from which each takes part."""
    spare = wishes.worst - valuation.money.floor
    steps = []
    for i in buys:
        line, target = valuation.lines[i], valuation.lines[i].target
        spare -= valuation.choices[i][wishes.shares[i]][WORST]
        if target > 0:
            limit, mark, value = line.buy_limit, line.mark, line.value
            steps.append((value * ONE // target, line.symbol, target * limit // mark, value * limit // mark))
    steps.sort()
    return spare, steps


def _factor(spare: int, steps: list[_Step]) -> int:
    """The factor of the buys' targets that the money pays, in closed form, without commissions.

    A buy takes part once the scaled target exceeds its value; between two such points the cost is a straight line.
    """
    slope, factor = 0, 0
    for start, _, its_slope, its_value in steps:
        if slope and spare * ONE // slope <= start:
            break
        slope += its_slope
        spare += its_value
        factor = spare * ONE // slope
    return min(max(factor, 0), ONE)


def _with_buys_scaled(valuation: Objective, wishes: State, buys: Sequence[int], factor: int) -> State:
    scaled = list(wishes.shares)
    for i in buys:
        line, wish = valuation.lines[i], scaled[i]
        part = line.whole_within(line.target * factor // ONE)
        if part < wish:
            scaled[i] = max(line.whole_held, part, min(valuation.least[i], wish))
    return valuation.state(scaled)


def _with_all_scaled(valuation: Objective, base: State, forced: Mapping[int, int]) -> State:
    """Where even no buys at all are too much for what is forced: everything else is sold below its target."""
    low, high, best = 0, ONE, base
    for _ in range(BISECTIONS):
        factor = (low + high) // 2
        scaled = valuation.state(
            [
                n if i in forced else max(least, min(n, line.whole_within(line.target * factor // ONE)))
                for i, (n, line, least) in enumerate(zip(base.shares, valuation.lines, valuation.least, strict=True))
            ]
        )
        if valuation.is_feasible(scaled):
            low, best = factor, scaled
        else:
            high = factor
    return best
