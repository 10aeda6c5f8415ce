"""Scale the wanted shares down to the cash; a shortage is spread in proportion to the targets."""

from collections.abc import Mapping, Sequence

from calculator.objective import Objective, State
from calculator.share_options import CASH, ERROR, WORST_CASH

ONE = 1 << 40
"""The factor 1.0. Factors are integers in units of 1/ONE, so that results do not depend on rounding."""
PINS, TRIES = 4, 6
BISECTIONS = 12

_Step = tuple[int, str, int, int]
"""The factor from which a buy takes part, its symbol, and what it adds to the slope and to the spendable cash."""


def is_affordable(objective: Objective, forced: Mapping[int, int]) -> bool:
    """Return whether the cash pays for the forced shares when every other line is sold down to its minimum."""
    return objective.is_feasible(
        objective.state([forced.get(i, minimum) for i, minimum in enumerate(objective.minimum)])
    )


def affordable_shares(objective: Objective, ideal: State, forced: Mapping[int, int]) -> State:
    """Return the ideal shares if affordable, else the buys scaled by one factor, else all lines scaled by one factor.

    Args:
        objective: the lines and the cash.
        ideal: shares at or below the targets, except for the forced lines.
        forced: fixed shares by line index.
    """
    if objective.is_feasible(ideal):
        return ideal
    pinned = dict(forced)
    for _ in range(PINS):
        base = _affordable(objective, ideal, pinned)
        room = base.worst_cash - objective.money.cash_floor
        # Rounding expensive shares down frees cash that the factor of the other lines did not include.
        too_expensive = {
            i: n
            for i, (line, n, ideal_shares) in enumerate(zip(objective.lines, base.shares, ideal.shares, strict=True))
            if n < ideal_shares and line.buy_limit > room and i not in pinned
        }
        if not too_expensive:
            break
        pinned |= too_expensive
        ideal = objective.changed(ideal, too_expensive.items())
    return base


def take_from_one_line(objective: Objective, ideal: State, forced: Mapping[int, int]) -> State:
    """Return the ideal shares with the whole shortage taken from the best single line, or unchanged if none suffices.

    One line of low-priced shares can often pay for a high-priced share of another.
    """
    shortage = objective.money.cash_floor - ideal.worst_cash
    best_value: int | None = None
    best: tuple[tuple[int, int], ...] = ()
    for i, (options, ideal_shares, minimum) in enumerate(
        zip(objective.options, ideal.shares, objective.minimum, strict=True)
    ):
        if i in forced:
            continue
        error, cash, worst_cash, _ = options[ideal_shares]
        line = options.line
        price = line.buy_limit if ideal_shares > line.whole_held else line.bid
        n = ideal_shares + -shortage // price
        if n >= minimum and options[n][WORST_CASH] - worst_cash < shortage:
            n -= 1  # for commissions, or because the buy became a sell
        if n < minimum or options[n][WORST_CASH] - worst_cash < shortage:
            continue
        value = options[n][ERROR] - error + abs(ideal.cash + options[n][CASH] - cash - objective.money.cash_target)
        if best_value is None or value < best_value:
            best_value, best = value, ((i, n),)
    return objective.changed(ideal, best)


def _affordable(objective: Objective, ideal: State, forced: Mapping[int, int]) -> State:
    buys = [
        i
        for i, (ideal_shares, line) in enumerate(zip(ideal.shares, objective.lines, strict=True))
        if ideal_shares > line.whole_held and i not in forced
    ]
    spendable, steps = _steps(objective, ideal, buys)
    shortage = 0
    for attempt in range(TRIES):
        base = _with_buys_scaled(objective, ideal, buys, _factor(spendable - shortage, steps))
        if objective.is_feasible(base):
            return base
        # Covers commissions and lines at their minimum. Doubled each time, because rounding can hide a small shortage.
        shortage += (objective.money.cash_floor - base.worst_cash) << attempt
    base = _with_buys_scaled(objective, ideal, buys, 0)
    return base if objective.is_feasible(base) else _with_all_scaled(objective, base, forced)


def _steps(objective: Objective, ideal: State, buys: Sequence[int]) -> tuple[int, list[_Step]]:
    """Return the cash for the buys that scale, and those buys sorted by the factor from which each takes part."""
    spendable = ideal.worst_cash - objective.money.cash_floor
    steps = []
    for i in buys:
        line, target = objective.lines[i], objective.lines[i].target
        spendable -= objective.options[i][ideal.shares[i]][WORST_CASH]
        if target > 0:
            limit, mark, value = line.buy_limit, line.mark, line.value
            steps.append((value * ONE // target, line.symbol, target * limit // mark, value * limit // mark))
    steps.sort()
    return spendable, steps


def _factor(spendable: int, steps: list[_Step]) -> int:
    """Return the affordable factor of the buys' targets in closed form, without commissions.

    A buy takes part once its scaled target exceeds its value; between two such points the cost is linear.
    """
    slope, factor = 0, 0
    for start, _, its_slope, its_value in steps:
        if slope and spendable * ONE // slope <= start:
            break
        slope += its_slope
        spendable += its_value
        factor = spendable * ONE // slope
    return min(max(factor, 0), ONE)


def _with_buys_scaled(objective: Objective, ideal: State, buys: Sequence[int], factor: int) -> State:
    scaled = list(ideal.shares)
    for i in buys:
        line, ideal_shares = objective.lines[i], scaled[i]
        part = line.whole_within(line.target * factor // ONE)
        if part < ideal_shares:
            scaled[i] = max(line.whole_held, part, min(objective.minimum[i], ideal_shares))
    return objective.state(scaled)


def _with_all_scaled(objective: Objective, base: State, forced: Mapping[int, int]) -> State:
    """Return a state with all other lines below target, for forced shares that are unaffordable without any buys."""
    low, high, best = 0, ONE, base
    for _ in range(BISECTIONS):
        factor = (low + high) // 2
        scaled = objective.state(
            [
                n if i in forced else max(minimum, min(n, line.whole_within(line.target * factor // ONE)))
                for i, (n, line, minimum) in enumerate(
                    zip(base.shares, objective.lines, objective.minimum, strict=True)
                )
            ]
        )
        if objective.is_feasible(scaled):
            low, best = factor, scaled
        else:
            high = factor
    return best
