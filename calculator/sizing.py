"""Whole shares for the free targets: near the targets, affordable at the limits, one direction a symbol.

Rounded wishes are made affordable by one factor for all buys; what rounding left over is then improved: by single
shares, by exchanges of one share for another, by trying the dearest shares one up and one down, and, for few symbols,
by exchanges of many shares between two. All sums are whole micro-dollars, so that nothing depends on rounding or on the
order of rows.
"""

from dataclasses import dataclass

from calculator.choices import Choice, Choices
from calculator.commissions import CommissionTable
from calculator.fill import fill
from calculator.holdings import Holdings, Line

ROUNDS = 60
"""Most single steps and exchanges in a row; they come to rest long before."""
PARTNERS = 16
"""Of each side, so many shares are tried for an exchange."""
DEAREST = 5
DEAR_ROUNDS = 10
DEAR_SHARE = 10_000
"""A share is dear when it is worth more than one part in so many of the account (a basis point)."""
FEW_SYMBOLS = 12
REACH = 24
"""So many shares are exchanged between two symbols at most."""
EXCHANGES = 750
"""... and fewer, the more pairs there are, so that the time stays the same."""
EXCHANGE_ROUNDS = 3
MANY_SYMBOLS = 150
"""Beyond, single shares are too small to matter, and the fill alone is as near as can be."""


@dataclass(frozen=True)
class Money:
    """Cash with the fixed part of the plan done, the reserve, and what is wanted in cash, in micro-dollars."""

    cash: int
    floor: int
    cash_target: int


@dataclass(frozen=True)
class State:
    """Shares of every line, with what they add up to."""

    shares: tuple[int, ...]
    error: int  # distances and costs, without the distance of cash
    cash: int  # at quotes
    worst: int  # with buys at their limits
    buys: int  # lines that buy


class Sizing:
    """Searches whole shares for each line."""

    def __init__(self, holdings: Holdings, lines: list[Line], least: dict[str, int], money: Money) -> None:
        self._lines = lines
        self._least = [least[line.symbol] for line in lines]
        table = CommissionTable(holdings.config.commission)
        self._choices = [Choices(line, table) for line in lines]
        self._money = money
        self._total = holdings.total

    def run(self) -> list[int]:
        """Final whole shares of each line, in their order."""
        if not self._lines:
            return []
        best = self._affordable_start()
        if len(self._lines) > MANY_SYMBOLS:
            return list(self._or_only_sell(best).shares)
        best = self._try_dear(self._improve(best))
        if len(self._lines) <= FEW_SYMBOLS:
            best = self._exchange_many(best)
        return list(self._or_only_sell(best).shares)

    def _or_only_sell(self, best: State) -> State:
        """Where cash is below the reserve, buying nothing can be better than selling enough to buy."""
        if best.cash >= self._money.floor and best.buys == 0:
            return best
        shares = [
            max(least, min(n, line.whole_held))
            for n, line, least in zip(best.shares, self._lines, self._least, strict=True)
        ]
        sells = self._state(shares)
        if sells.buys or self._money.cash >= self._money.floor:
            return best
        return min(best, self._improve(sells), key=self._objective)

    # ---- what a state is worth

    def _state(self, shares: list[int]) -> State:
        error, buys, cash, worst = 0, 0, self._money.cash, self._money.cash
        for choices, n in zip(self._choices, shares, strict=True):
            choice = choices.at(n)
            error += choice.error
            cash += choice.cash
            worst += choice.worst
            buys += choice.buys
        return State(tuple(shares), error, cash, worst, buys)

    def _objective(self, state: State) -> int:
        return state.error + abs(state.cash - self._money.cash_target)

    def _is_feasible(self, state: State) -> bool:
        return not state.buys or state.worst >= self._money.floor

    # ---- the start

    def _affordable_start(self) -> State:
        """The better of two starts: every line at its nearest share, or the shares that the money is best spent on."""
        nearest = self._state(
            [max(least, _nearest(line)) for line, least in zip(self._lines, self._least, strict=True)]
        )
        base = self._base()
        room = self._state(base).worst - self._money.floor
        filled = self._state(fill(self._choices, base, self._least, room))
        starts = [state for state in (nearest, filled) if self._is_feasible(state)]
        return min(starts, key=self._objective) if starts else self._cut(list(filled.shares))

    def _base(self) -> list[int]:
        """Whole shares below the targets; a shortage is spread over the buys in proportion to the targets."""
        wishes = [max(least, _below(line)) for line, least in zip(self._lines, self._least, strict=True)]
        if self._is_feasible(self._state(wishes)):
            return wishes
        factor = self._estimate(wishes)
        while factor and not self._is_feasible(self._state(self._scaled(wishes, factor))):
            factor -= max(1, factor >> 8)
        return self._scaled(wishes, factor)

    def _estimate(self, wishes: list[int]) -> int:
        """One factor for all targets, in 2**-20, that the money about pays, in closed form, without commissions.

        A buy takes part once the scaled target exceeds its value; between two such points the cost is a straight line.
        """
        buys = [line for wish, line in zip(wishes, self._lines, strict=True) if wish > line.whole_held]
        sells = [min(wish, line.whole_held) for wish, line in zip(wishes, self._lines, strict=True)]
        room = self._state(sells).worst - self._money.floor
        starts = sorted(((line.value << 20) // line.target, line.symbol, line) for line in buys if line.target > 0)
        slope, spare = 0, room
        factor = 0
        for start, _, line in starts:
            if slope and (spare << 20) // slope <= start:
                break
            slope += line.target * line.buy_limit // line.mark
            spare += line.value * line.buy_limit // line.mark
            factor = (spare << 20) // slope
        return min(max(factor, 0), 1 << 20)

    def _scaled(self, wishes: list[int], factor: int) -> list[int]:
        scaled = []
        for wish, line, least in zip(wishes, self._lines, self._least, strict=True):
            if wish <= line.whole_held:
                scaled.append(wish)
                continue
            fraction = line.value - line.whole_held * line.mark
            part = (((line.target * factor) >> 20) - fraction) // line.mark
            scaled.append(max(line.whole_held, min(wish, part), min(least, wish)))
        return scaled

    def _cut(self, shares: list[int]) -> State:
        """Gives up buys until the money is enough: first shares that were promised can be too many for it."""
        for i in sorted(range(len(shares)), key=lambda i: (self._lines[i].target, self._lines[i].symbol)):
            if self._is_feasible(self._state(shares)):
                break
            shares[i] = min(shares[i], self._lines[i].whole_held)
        return self._state(shares)

    # ---- one share at a time

    def _improve(self, state: State, frozen: int = -1, rounds: int = ROUNDS) -> State:
        """Takes the best single share or exchange of two shares, until none helps."""
        for _ in range(rounds):
            better = self._best_step(state, frozen)
            if better is None:
                return state
            state = better
        return state

    def _best_step(self, state: State, frozen: int) -> State | None:
        ups, downs = self._steps(state, frozen)
        target, floor, cash, worst, buys = (
            self._money.cash_target,
            self._money.floor,
            state.cash,
            state.worst,
            state.buys,
        )
        miss = abs(cash - target)
        best_gain = 0
        best: tuple[tuple[int, int], ...] | None = None
        for step in (*ups, *downs):
            i, n, error, d_cash, d_worst, d_buys = step
            gain = miss - error - abs(cash + d_cash - target)
            if gain > best_gain and (buys + d_buys == 0 or worst + d_worst >= floor):
                best_gain, best = gain, ((i, n),)
        ups.sort(key=lambda step: step[2])
        downs.sort(key=lambda step: step[2])
        for i, n, error, d_cash, d_worst, d_buys in ups[:PARTNERS]:
            left, after, room = miss - error, cash + d_cash - target, worst + d_worst - floor
            for j, m, error_2, d_cash_2, d_worst_2, d_buys_2 in downs[:PARTNERS]:
                gain = left - error_2 - abs(after + d_cash_2)
                if gain > best_gain and i != j and (room + d_worst_2 >= 0 or buys + d_buys + d_buys_2 == 0):
                    best_gain, best = gain, ((i, n), (j, m))
        if best is None:
            return None
        shares = list(state.shares)
        for i, n in best:
            shares[i] = n
        return self._state(shares)

    def _steps(self, state: State, frozen: int) -> tuple[list["_Step"], list["_Step"]]:
        """One share more, and one share less, of each line: what changes."""
        ups: list[_Step] = []
        downs: list[_Step] = []
        for i, (choices, n) in enumerate(zip(self._choices, state.shares, strict=True)):
            if i == frozen:
                continue
            now = choices.at(n)
            ups.append(_step(i, n + 1, now, choices.at(n + 1)))
            if n > self._least[i]:
                downs.append(_step(i, n - 1, now, choices.at(n - 1)))
        return ups, downs

    # ---- dear shares

    def _try_dear(self, best: State) -> State:
        """Tries the dearest shares one up and one down, with everything else fitted around them."""
        dear = [i for i, line in enumerate(self._lines) if line.mark * DEAR_SHARE > self._total]
        dear.sort(key=lambda i: (-self._lines[i].mark, self._lines[i].symbol))
        for i in dear[:DEAREST]:
            for n in (best.shares[i] - 1, best.shares[i] + 1):
                if n < self._least[i]:
                    continue
                tried = self._fit_around(best, i, n)
                if tried is not None and self._objective(tried) < self._objective(best):
                    best = tried
        return best

    def _fit_around(self, state: State, i: int, n: int) -> State | None:
        """The state with n shares of line i, and the others given up or filled up to fit."""
        shares = list(state.shares)
        shares[i] = n
        changed = self._state(shares)
        others = sorted(range(len(shares)), key=lambda k: (self._lines[k].mark, self._lines[k].symbol), reverse=True)
        for k in others:
            line = self._lines[k]
            lacking = self._money.floor - changed.worst
            if lacking <= 0 or not changed.buys:
                break
            if k == i or line.bid <= 0:
                continue
            given_up = min(shares[k] - self._least[k], lacking // max(1, min(line.bid, line.buy_limit)))
            shares[k] -= max(0, given_up)
            changed = self._state(shares)
        if not self._is_feasible(changed):
            for k in reversed(others):
                while k != i and shares[k] > self._least[k] and not self._is_feasible(changed):
                    shares[k] -= 1
                    changed = self._state(shares)
        return self._improve(changed, frozen=i, rounds=DEAR_ROUNDS) if self._is_feasible(changed) else None

    # ---- many shares between two symbols

    def _exchange_many(self, best: State) -> State:
        for _ in range(EXCHANGE_ROUNDS):
            better = self._best_exchange(best)
            if better is None:
                return best
            best = self._improve(better)
        return best

    def _best_exchange(self, state: State) -> State | None:
        target, floor = self._money.cash_target, self._money.floor
        pairs = len(self._lines) * (len(self._lines) - 1)
        reach = min(REACH, EXCHANGES // pairs) if pairs else 0
        best_value, best = self._objective(state), None
        for i, choices_i in enumerate(self._choices):
            here = choices_i.at(state.shares[i])
            for n in range(max(self._least[i], state.shares[i] - reach), state.shares[i] + reach + 1):
                there = choices_i.at(n)
                cash, worst = state.cash - here.cash + there.cash, state.worst - here.worst + there.worst
                error, buys = state.error - here.error + there.error, state.buys - here.buys + there.buys
                for j, choices_j in enumerate(self._choices):
                    if j == i or n == state.shares[i]:
                        continue
                    from_j = choices_j.at(state.shares[j])
                    room = worst - from_j.worst - floor
                    for m in choices_j.fitting(room, self._least[j]):
                        to_j = choices_j.at(m)
                        if room + to_j.worst < 0 and buys - from_j.buys + to_j.buys:
                            continue
                        value = error - from_j.error + to_j.error + abs(cash - from_j.cash + to_j.cash - target)
                        if value < best_value:
                            best_value, best = value, (i, n, j, m)
        if best is None:
            return None
        shares = list(state.shares)
        shares[best[0]], shares[best[2]] = best[1], best[3]
        return self._state(shares)


_Step = tuple[int, int, int, int, int, int]
"""Line, its shares then, and the changes of error, cash, worst cash and number of buying lines."""


def _step(i: int, n: int, now: Choice, then: Choice) -> _Step:
    return i, n, then.error - now.error, then.cash - now.cash, then.worst - now.worst, then.buys - now.buys


def _below(line: Line) -> int:
    """The most whole shares that do not exceed the target."""
    return line.whole_held + (line.target - line.value) // line.mark


def _nearest(line: Line) -> int:
    """The whole shares nearest to the target; the fewer of two that are as near."""
    wish = _below(line)
    rest = line.target - line.value - (wish - line.whole_held) * line.mark
    return wish + 1 if 2 * rest > line.mark else wish
