"""Improve a sizing by small changes: single shares, one share for another, many shares between two symbols."""

from collections.abc import Sequence
from operator import itemgetter

from calculator.objective import Objective, State
from calculator.share_options import ERROR

ROUNDS = 60
"""Maximum number of consecutive improvements; real accounts need far fewer."""
PARTNERS = 12
"""Number of candidate lines on each side of a swap."""
REACH = 24
"""Maximum number of shares that one side of a swap changes by."""
SWAPS = 300
"""Budget of swaps: with more pairs fewer shares of each are tried, so that the time stays the same."""
SWAP_ROUNDS = 2

_Step = tuple[int, int, int, int, int, int]
"""Line index, its new shares, and the changes of error, cash, worst-case cash and number of buying lines."""
_Changes = tuple[tuple[int, int], ...]
"""Line indexes and their new shares."""


def improve(objective: Objective, state: State) -> State:
    """Apply the best single share or swap of two shares until none improves the state."""
    steps = [_steps(objective, state, i) for i in range(len(state.shares))]
    for _ in range(ROUNDS):
        changes = _best_step(objective, state, steps)
        if not changes:
            break
        state = objective.changed(state, changes)
        for i, _ in changes:
            steps[i] = _steps(objective, state, i)
    return state


def swap_many(objective: Objective, best: State) -> State:
    """Apply the best swap of many shares between two symbols while one helps; for few symbols."""
    for _ in range(SWAP_ROUNDS):
        better = _best_swap(objective, best)
        if better is None:
            return best
        best = improve(objective, better)
    return best


def _best_step(objective: Objective, state: State, steps: Sequence[tuple[_Step | None, _Step | None]]) -> _Changes:
    """Return the single share or pair that improves the state most; empty if none does."""
    ups = [up for up, _ in steps if up]
    downs = [down for _, down in steps if down]
    cash_floor, cash, buys = objective.money.cash_floor, state.cash - objective.money.cash_target, state.buys
    room, miss = state.worst_cash - cash_floor, abs(cash)
    best_gain = 0
    best: _Changes = ()
    for i, n, error, d_cash, d_worst, d_buys in (*ups, *downs):
        if miss - error <= best_gain:
            continue
        gain = miss - error - abs(cash + d_cash)
        if gain > best_gain and (room + d_worst >= 0 or buys + d_buys == 0):
            best_gain, best = gain, ((i, n),)
    ups.sort(key=itemgetter(2))
    downs.sort(key=itemgetter(2))
    least_down = downs[0][2] if downs else miss
    for i, n, error, d_cash, d_worst, d_buys in ups[:PARTNERS]:
        left, after, room_left, buys_left = miss - error, cash + d_cash, room + d_worst, buys + d_buys
        if left - least_down <= best_gain:
            break  # both lists are sorted by rising error
        for j, m, error_2, d_cash_2, d_worst_2, d_buys_2 in downs[:PARTNERS]:
            if left - error_2 <= best_gain:
                break
            gain = left - error_2 - abs(after + d_cash_2)
            if gain > best_gain and i != j and (room_left + d_worst_2 >= 0 or buys_left + d_buys_2 == 0):
                best_gain, best = gain, ((i, n), (j, m))
    return best


def _steps(objective: Objective, state: State, i: int) -> tuple[_Step | None, _Step | None]:
    """Return what one share more, and one share less, of a line changes; None beyond its maximum or minimum."""
    options, n = objective.options[i], state.shares[i]
    error, cash, worst_cash, buys = options[n]
    up = down = None
    if n < objective.maximum[i]:
        error_up, cash_up, worst_up, buys_up = options[n + 1]
        up = i, n + 1, error_up - error, cash_up - cash, worst_up - worst_cash, buys_up - buys
    if n > objective.minimum[i]:
        error_down, cash_down, worst_down, buys_down = options[n - 1]
        down = i, n - 1, error_down - error, cash_down - cash, worst_down - worst_cash, buys_down - buys
    return up, down


def _best_swap(objective: Objective, state: State) -> State | None:
    cash_floor, cash_target = objective.money.cash_floor, objective.money.cash_target
    pairs = len(objective.lines) * (len(objective.lines) - 1)
    reach = max(1, min(REACH, SWAPS // pairs)) if pairs else 0
    best_value = objective.total_error(state)
    best: _Changes = ()
    partners = _partners(objective, state)
    most_regained = max((partner[0] for partner in partners), default=0)
    for i, (options, at) in enumerate(zip(objective.options, state.shares, strict=True)):
        error_i, cash_i, worst_i, buys_i = options[at]
        for n in range(max(objective.minimum[i], at - reach), min(objective.maximum[i], at + reach) + 1):
            error, cash, worst_cash, buys = options[n]
            error += state.error - error_i
            if n == at or error - most_regained >= best_value:
                continue
            cash, worst_cash = state.cash + cash - cash_i, state.worst_cash + worst_cash - worst_i
            buys += state.buys - buys_i
            for regained, j, near in partners:
                if j == i or error - regained >= best_value:
                    continue
                choices_j = objective.options[j]
                error_j, cash_j, worst_j, buys_j = choices_j[state.shares[j]]
                error_left, cash_left = error - error_j, cash - cash_j - cash_target
                room, buys_left = worst_cash - worst_j - cash_floor, buys - buys_j
                for m in choices_j.fitting(room, near, objective.minimum[j], objective.maximum[j]):
                    to_error, to_cash, to_worst, to_buys = choices_j[m]
                    value = error_left + to_error + abs(cash_left + to_cash)
                    if value < best_value and (room + to_worst >= 0 or buys_left + to_buys == 0):
                        best_value, best = value, ((i, n), (j, m))
    return objective.changed(state, best) if best else None


def _partners(objective: Objective, state: State) -> list[tuple[int, int, int]]:
    """Return for each line the largest possible reduction of its error, its index, and its shares below the target."""
    partners = []
    for j, (options, n, near) in enumerate(zip(objective.options, state.shares, objective.ideal.shares, strict=True)):
        line = options.line
        least_miss = min(abs(line.value_at(m) - line.target) for m in (near, near + 1))
        partners.append((options[n][ERROR] - least_miss, j, near))
    return partners
