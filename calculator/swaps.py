"""Small changes that bring a sizing nearer: single shares, one share for another, many shares between two symbols."""

from collections.abc import Sequence
from operator import itemgetter

from calculator.objective import Objective, State
from calculator.share_options import ERROR

ROUNDS = 60
"""Most single steps and exchanges in a row; they come to rest long before."""
PARTNERS = 12
"""Of each side, so many shares are tried for an exchange."""
REACH = 24
"""So many shares are exchanged between two symbols at most."""
SWAPS = 300
"""... and fewer, the more pairs there are, so that the time stays the same."""
SWAP_ROUNDS = 2

_Step = tuple[int, int, int, int, int, int]
"""Line, its shares then, and the changes of error, cash, worst cash and number of buying lines."""
_Changes = tuple[tuple[int, int], ...]
"""Lines and their shares then."""


def improve(valuation: Objective, state: State) -> State:
    """Takes the best single share or exchange of two shares, until none helps."""
    steps = [_steps(valuation, state, i) for i in range(len(state.shares))]
    for _ in range(ROUNDS):
        changes = _best_step(valuation, state, steps)
        if not changes:
            break
        state = valuation.changed(state, changes)
        for i, _ in changes:
            steps[i] = _steps(valuation, state, i)
    return state


def swap_many(valuation: Objective, best: State) -> State:
    """Takes the best exchange of many shares between two symbols, as long as one helps; for few symbols."""
    for _ in range(SWAP_ROUNDS):
        better = _best_swap(valuation, best)
        if better is None:
            return best
        best = improve(valuation, better)
    return best


def _best_step(valuation: Objective, state: State, steps: Sequence[tuple[_Step, _Step | None]]) -> _Changes:
    """The single share, or the two, that help most; nothing where none does."""
    ups = [up for up, _ in steps]
    downs = [down for _, down in steps if down]
    floor, cash, buys = valuation.money.floor, state.cash - valuation.money.cash_target, state.buys
    room, miss = state.worst - floor, abs(cash)
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
            break  # both come with rising errors
        for j, m, error_2, d_cash_2, d_worst_2, d_buys_2 in downs[:PARTNERS]:
            if left - error_2 <= best_gain:
                break
            gain = left - error_2 - abs(after + d_cash_2)
            if gain > best_gain and i != j and (room_left + d_worst_2 >= 0 or buys_left + d_buys_2 == 0):
                best_gain, best = gain, ((i, n), (j, m))
    return best


def _steps(valuation: Objective, state: State, i: int) -> tuple[_Step, _Step | None]:
    """One share more, and one share less, of a line: what changes."""
    choices, n = valuation.choices[i], state.shares[i]
    error, cash, worst, buys = choices[n]
    error_up, cash_up, worst_up, buys_up = choices[n + 1]
    up = i, n + 1, error_up - error, cash_up - cash, worst_up - worst, buys_up - buys
    if n <= valuation.least[i]:
        return up, None
    error_down, cash_down, worst_down, buys_down = choices[n - 1]
    return up, (i, n - 1, error_down - error, cash_down - cash, worst_down - worst, buys_down - buys)


def _best_swap(valuation: Objective, state: State) -> State | None:
    floor, cash_target = valuation.money.floor, valuation.money.cash_target
    pairs = len(valuation.lines) * (len(valuation.lines) - 1)
    reach = max(1, min(REACH, SWAPS // pairs)) if pairs else 0
    best_value = valuation.objective(state)
    best: _Changes = ()
    partners = _partners(valuation, state)
    most_regained = max((partner[0] for partner in partners), default=0)
    for i, (choices, at) in enumerate(zip(valuation.choices, state.shares, strict=True)):
        error_i, cash_i, worst_i, buys_i = choices[at]
        for n in range(max(valuation.least[i], at - reach), at + reach + 1):
            error, cash, worst, buys = choices[n]
            error += state.error - error_i
            if n == at or error - most_regained >= best_value:
                continue
            cash, worst = state.cash + cash - cash_i, state.worst + worst - worst_i
            buys += state.buys - buys_i
            for regained, j, near in partners:
                if j == i or error - regained >= best_value:
                    continue
                choices_j = valuation.choices[j]
                error_j, cash_j, worst_j, buys_j = choices_j[state.shares[j]]
                error_left, cash_left = error - error_j, cash - cash_j - cash_target
                room, buys_left = worst - worst_j - floor, buys - buys_j
                for m in choices_j.fitting(room, near, valuation.least[j]):
                    to_error, to_cash, to_worst, to_buys = choices_j[m]
                    value = error_left + to_error + abs(cash_left + to_cash)
                    if value < best_value and (room + to_worst >= 0 or buys_left + to_buys == 0):
                        best_value, best = value, ((i, n), (j, m))
    return valuation.changed(state, best) if best else None


def _partners(valuation: Objective, state: State) -> list[tuple[int, int, int]]:
    """For each line the most by which its error can become less, its number, and its most shares below the target."""
    partners = []
    for j, (choices, n, near) in enumerate(zip(valuation.choices, state.shares, valuation.wishes.shares, strict=True)):
        line = choices.line
        least_miss = min(abs(line.value_at(m) - line.target) for m in (near, near + 1))
        partners.append((choices[n][ERROR] - least_miss, j, near))
    return partners
