"""Whole shares at or below the targets that the money pays; a shortage is spread in proportion to the targets."""

from collections.abc import Mapping

from calculator.holdings import Line
from calculator.valuation import Valuation

ONE = 1 << 40
"""A factor of one: factors are whole numbers of so many parts, so that nothing depends on rounding."""
PINS, TRIES = 4, 6
BISECTIONS = 12


def base_shares(valuation: Valuation, forced: Mapping[int, int]) -> list[int]:
    """The start of a sizing: the buys, and if that is not enough all targets, scaled by one factor that the money pays.

    Args:
        valuation: the lines and the money.
        forced: shares by the number of a line, where they are given.
    """
    wishes = [
        forced[i] if i in forced else min(max(valuation.least[i], whole_below(line, line.target)), valuation.most[i])
        for i, line in enumerate(valuation.lines)
    ]
    if valuation.is_feasible(valuation.state(wishes)):
        return wishes
    pinned = dict(forced)
    for _ in range(PINS):
        base = _affordable(valuation, wishes, pinned)
        room = valuation.state(base).worst - valuation.money.floor
        # Rounding down the dear ones frees money that the others' factor did not count on.
        too_dear = {
            i: base[i]
            for i, line in enumerate(valuation.lines)
            if i not in pinned and base[i] < wishes[i] and line.buy_limit > room
        }
        if not too_dear:
            break
        pinned |= too_dear
        wishes = [pinned.get(i, wish) for i, wish in enumerate(wishes)]
    return base


def _affordable(valuation: Valuation, wishes: list[int], forced: Mapping[int, int]) -> list[int]:
    lacking = 0
    for attempt in range(TRIES):
        base = _with_buys_scaled(valuation, wishes, forced, _factor(valuation, wishes, forced, lacking))
        state = valuation.state(base)
        if valuation.is_feasible(state):
            return base
        # Commissions, and shares that could not be fewer; doubled, since little can be hidden by the rounding.
        lacking += (valuation.money.floor - state.worst) << attempt
    base = _with_buys_scaled(valuation, wishes, forced, 0)
    return base if valuation.is_feasible(valuation.state(base)) else _with_all_scaled(valuation, base, forced)


def whole_below(line: Line, value: int) -> int:
    """The most whole shares with which the line is worth no more."""
    return line.whole_held + (value - line.value) // line.mark


def _factor(valuation: Valuation, wishes: list[int], forced: Mapping[int, int], lacking: int) -> int:
    """The factor of the buys' targets that the money less what is lacking pays, in closed form, without commissions.

    A buy takes part once the scaled target exceeds its value; between two such points the cost is a straight line.
    """
    buys, others = [], []
    for i, (wish, line) in enumerate(zip(wishes, valuation.lines, strict=True)):
        scales = i not in forced and wish > line.whole_held
        others.append(line.whole_held if scales else wish)
        if scales and line.target > 0:
            buys.append((line.value * ONE // line.target, line.symbol, line))
    spare, slope, factor = valuation.state(others).worst - valuation.money.floor - lacking, 0, 0
    for start, _, line in sorted(buys):
        if slope and spare * ONE // slope <= start:
            break
        slope += line.target * line.buy_limit // line.mark
        spare += line.value * line.buy_limit // line.mark
        factor = spare * ONE // slope
    return min(max(factor, 0), ONE)


def _with_buys_scaled(valuation: Valuation, wishes: list[int], forced: Mapping[int, int], factor: int) -> list[int]:
    scaled = []
    for i, (wish, line, least) in enumerate(zip(wishes, valuation.lines, valuation.least, strict=True)):
        if i in forced or wish <= line.whole_held:
            scaled.append(wish)
        else:
            part = whole_below(line, line.target * factor // ONE)
            scaled.append(max(line.whole_held, min(wish, part), min(least, wish)))
    return scaled


def _with_all_scaled(valuation: Valuation, base: list[int], forced: Mapping[int, int]) -> list[int]:
    """Where even no buys at all are too much for what is forced: everything else is sold below its target."""
    low, high, best = 0, ONE, base
    for _ in range(BISECTIONS):
        factor = (low + high) // 2
        shares = [
            n if i in forced else max(least, min(n, whole_below(line, line.target * factor // ONE)))
            for i, (n, line, least) in enumerate(zip(base, valuation.lines, valuation.least, strict=True))
        ]
        if valuation.is_feasible(valuation.state(shares)):
            low, best = factor, shares
        else:
            high = factor
    return best
