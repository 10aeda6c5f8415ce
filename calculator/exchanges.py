"""Small changes that bring a sizing nearer: single shares, one share for another, many shares between two symbols."""

from operator import itemgetter

from calculator.valuation import State, Valuation

ROUNDS = 60
"""Most single steps and exchanges in a row; they come to rest long before."""
PARTNERS = 12
"""Of each side, so many shares are tried for an exchange."""
REACH = 24
"""So many shares are exchanged between two symbols at most."""
EXCHANGES = 300
"""... and fewer, the more pairs there are, so that the time stays the same."""
EXCHANGE_ROUNDS = 2

_Step = tuple[int, int, int, int, int, int]
"""Line, its shares then, and the changes of error, cash, worst cash and number of buying lines."""


def improve(valuation: Valuation, state: State) -> State:
    """Takes the best single share or exchange of two shares, until none helps."""
    for _ in range(ROUNDS):
        better = _best_step(valuation, state)
        if better is None:
            return state
        state = better
    return state


def exchange_many(valuation: Valuation, best: State) -> State:
    """Takes the best exchange of many shares between two symbols, as long as one helps; for few symbols."""
    for _ in range(EXCHANGE_ROUNDS):
        better = _best_exchange(valuation, best)
        if better is None:
            return best
        best = improve(valuation, better)
    return best


def _best_step(valuation: Valuation, state: State) -> State | None:
    ups, downs = _steps(valuation, state)
    target, floor = valuation.money.cash_target, valuation.money.floor
    cash, worst, buys = state.cash, state.worst, state.buys
    miss = abs(cash - target)
    best_gain = 0
    best: tuple[tuple[int, int], ...] | None = None
    for i, n, error, d_cash, d_worst, d_buys in (*ups, *downs):
        gain = miss - error - abs(cash + d_cash - target)
        if gain > best_gain and (buys + d_buys == 0 or worst + d_worst >= floor):
            best_gain, best = gain, ((i, n),)
    ups.sort(key=itemgetter(2))
    downs.sort(key=itemgetter(2))
    least_down = downs[0][2] if downs else miss
    for i, n, error, d_cash, d_worst, d_buys in ups[:PARTNERS]:
        left, after, room = miss - error, cash + d_cash - target, worst + d_worst - floor
        if left - least_down <= best_gain:
            break  # both come with rising errors
        for j, m, error_2, d_cash_2, d_worst_2, d_buys_2 in downs[:PARTNERS]:
            if left - error_2 <= best_gain:
                break
            gain = left - error_2 - abs(after + d_cash_2)
            if gain > best_gain and i != j and (room + d_worst_2 >= 0 or buys + d_buys + d_buys_2 == 0):
                best_gain, best = gain, ((i, n), (j, m))
    return valuation.changed(state, best) if best is not None else None


def _steps(valuation: Valuation, state: State) -> tuple[list[_Step], list[_Step]]:
    """One share more, and one share less, of each line: what changes."""
    ups: list[_Step] = []
    downs: list[_Step] = []
    for i, (choices, n, least) in enumerate(zip(valuation.choices, state.shares, valuation.least, strict=True)):
        error, cash, worst, buys = choices[n]
        error_up, cash_up, worst_up, buys_up = choices[n + 1]
        ups.append((i, n + 1, error_up - error, cash_up - cash, worst_up - worst, buys_up - buys))
        if n > least:
            error_down, cash_down, worst_down, buys_down = choices[n - 1]
            downs.append((i, n - 1, error_down - error, cash_down - cash, worst_down - worst, buys_down - buys))
    return ups, downs


def _best_exchange(valuation: Valuation, state: State) -> State | None:
    target, floor = valuation.money.cash_target, valuation.money.floor
    pairs = len(valuation.lines) * (len(valuation.lines) - 1)
    reach = max(1, min(REACH, EXCHANGES // pairs)) if pairs else 0
    best_value, best = valuation.objective(state), None
    here = [choices[n] for choices, n in zip(valuation.choices, state.shares, strict=True)]
    near = valuation.wishes.shares
    for i, at in enumerate(state.shares):
        for n in range(max(valuation.least[i], at - reach), at + reach + 1):
            if n == at:
                continue
            with_i = valuation.changed(state, ((i, n),))
            for j, choices_j in enumerate(valuation.choices):
                if j == i:
                    continue
                error_j, cash_j, worst_j, buys_j = here[j]
                error, cash = with_i.error - error_j, with_i.cash - cash_j - target
                room, buys = with_i.worst - worst_j - floor, with_i.buys - buys_j
                for m in choices_j.fitting(room, near[j], valuation.least[j]):
                    to_error, to_cash, to_worst, to_buys = choices_j[m]
                    value = error + to_error + abs(cash + to_cash)
                    if value < best_value and (room + to_worst >= 0 or buys + to_buys == 0):
                        best_value, best = value, ((i, n), (j, m))
    return valuation.changed(state, best) if best is not None else None
