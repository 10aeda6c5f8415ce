"""Invest the cash above its target without selling. Prices and money are integer micro-dollars."""

from collections.abc import Sequence
from heapq import heapify, heappop, heappush

from calculator.fixed_point import to_micro
from calculator.holdings import Holdings
from calculator.line import Line
from calculator.objective import Money, Objective, State
from calculator.selection import Selection, allowed_shares
from calculator.share_bounds import share_bounds

ONE = 1 << 40
"""The level 1.0: every line at its target. Levels are integers in units of 1/ONE."""
TRIES = 8


def invest(holdings: Holdings, selection: Selection) -> tuple[dict[str, int], int]:
    """Spend the cash above its target on the lines furthest below theirs; sell nothing.

    Every line below a common level of its target is filled to it, in whole shares; the shares that the rest of the
    money pays for go one by one to the line with the lowest part of its target. Of what holds trades back, only the
    smallest trade of the policy applies.

    Returns:
        Signed shares by symbol, and the cash afterwards at quotes.
    """
    lines = [line for line in holdings.lines if line.is_target and line.tradable and line.target > line.value]
    left_out: set[str] = set()
    while True:
        bought = _invest(holdings, [line for line in lines if line.symbol not in left_out])
        small = [
            (shares * line.ask, line.symbol)
            for line, shares in bought
            if shares * line.ask < to_micro(holdings.config.minimum_trade_usd)
        ]
        if not small:
            break
        left_out.add(min(small)[1])  # the money goes to the others
    for symbol in left_out:
        selection.leave_untraded(symbol, "below_minimum_trade", "The buy is smaller than the policy's smallest trade.")
    cash = holdings.cash - sum(
        shares * line.ask + holdings.charge(shares, shares * line.ask) for line, shares in bought
    )
    return {line.symbol: shares for line, shares in bought}, cash


def _invest(holdings: Holdings, lines: Sequence[Line]) -> list[tuple[Line, int]]:
    money = Money(holdings.total, holdings.cash, holdings.cash_floor, holdings.cash_target)
    held = [line.whole_held for line in lines]
    most = [_most_shares(line, holdings) for line in lines]
    objective = Objective(lines, held, most, money, holdings.charge)
    state = _one_by_one(objective, _at_level(objective))
    return [(line, n - line.whole_held) for line, n in zip(lines, state.shares, strict=True) if n > line.whole_held]


def _most_shares(line: Line, holdings: Holdings) -> int:
    _, most = allowed_shares(line, holdings)
    bound = share_bounds(holdings).most(line)
    return bound if most is None else max(line.whole_held, min(bound, most))


def _at_level(objective: Objective) -> State:
    """Return the lines filled to the highest level that the money pays for, rounded down to whole shares."""
    held = objective.state(objective.minimum)
    money = spendable = objective.room(held)
    for _ in range(TRIES):
        if spendable <= 0:
            break
        level = _level(objective.lines, spendable)
        filled = objective.state(
            [
                max(least, min(line.whole_within(line.target * level // ONE), most))
                for line, least, most in zip(objective.lines, objective.minimum, objective.maximum, strict=True)
            ]
        )
        lacking = -objective.room(filled)
        if lacking <= 0:
            return filled
        # Commissions and limit prices, which the level does not know.
        spendable -= max(lacking, money // ONE + 1)
    return held


def _level(lines: Sequence[Line], money: int) -> int:
    """Return the level to which `money` fills the lines at the ask, at most 1; between two lines it is linear."""
    slope = level = 0
    for line in sorted(lines, key=lambda line: (line.value * ONE // line.target, line.symbol)):
        start = line.value * ONE // line.target
        if slope and money * ONE // slope <= start:
            break
        slope += line.target * line.ask // line.mark
        money += line.value * line.ask // line.mark
        level = money * ONE // slope
    return max(0, min(level, ONE))


def _one_by_one(objective: Objective, state: State) -> State:
    """Add single shares where the part of the target that is held is smallest, while they fit and lower the error."""
    waiting = [
        (_part(line, n), line.symbol, i) for i, (line, n) in enumerate(zip(objective.lines, state.shares, strict=True))
    ]
    heapify(waiting)
    while waiting:
        _, symbol, i = heappop(waiting)
        n = state.shares[i]
        if n >= objective.maximum[i]:
            continue
        more = objective.changed(state, ((i, n + 1),))
        fits = objective.room(more) >= 0
        # With less money left and less error to gain, a share that is refused now is refused later.
        if fits and objective.total_error(more) < objective.total_error(state):
            state = more
            heappush(waiting, (_part(objective.lines[i], n + 1), symbol, i))
    return state


def _part(line: Line, shares: int) -> int:
    return line.value_at(shares) * ONE // line.target
