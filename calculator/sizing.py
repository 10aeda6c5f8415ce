"""Whole shares for the free targets: near the targets, affordable at the limits, one direction a symbol.

Two starts: every line at its nearest share, and what the money is best spent on. Then the dearest shares are forced one
up and one down with everything else solved again around them, and the nearest of all that is improved by small
exchanges. All sums are whole micro-dollars, so that nothing depends on rounding or on the order of rows.
"""

from collections.abc import Mapping

from calculator.holdings import Line
from calculator.leftover_cash import spend_leftover_cash
from calculator.objective import Objective, State
from calculator.scale_down import affordable_shares, can_be_paid, made_up_by_one
from calculator.swaps import improve, swap_many

DEAREST, IMPROVED = 4, 6
"""So many lines with the dearest shares are tried one up and one down, and so many of what comes of it are improved."""
DEAREST_OF_MANY, IMPROVED_OF_MANY = 2, 3
"""... and so many where there are many lines: any one share matters less then, and each try takes longer."""
DEAR_SHARE = 10_000
"""A share is dear when it is worth more than one part in so many of the account (a basis point)."""
FEW_SYMBOLS, FEW_FOR_EXCHANGES = 12, 30
BELOW, BELOW_FEW = 1, 2
"""Shares of a line that may be given up for others; with few symbols one more, since an exchange needs several."""
MANY_SYMBOLS = 150
"""Beyond, single shares are too small to matter: no share is given up, and the fill alone is as near as can be."""
NODES, NODES_AROUND_DEAR = 1_500, 40
"""How long a search for single shares may be, and one of many around the dear ones."""
NO_FORCE: Mapping[int, int] = {}


def solve(
    valuation: Objective,
    forced: Mapping[int, int] = NO_FORCE,
    *,
    below: int = 0,
    nodes: int = NODES,
    thorough: bool = False,
) -> State:
    """What the money is best spent on, with the forced lines as they are; not feasible if they cannot be paid.

    Args:
        valuation: the lines and the money.
        forced: shares by the number of a line, where they are given.
        below: how many shares of a line may be given up for others; none keeps a shortage in proportion.
        nodes: how long the search for single shares may be.
        thorough: whether a shortage may be made up for by single shares, or by one line, if that is nearer.
    """
    wishes = valuation.changed(valuation.wishes, forced.items()) if forced else valuation.wishes
    if forced and not (valuation.is_feasible(wishes) or can_be_paid(valuation, forced)):
        return wishes
    base = affordable_shares(valuation, wishes, forced)
    filled = spend_leftover_cash(valuation, base, forced, below=below, nodes=nodes)
    if base is wishes or not thorough:
        return filled
    by_single_shares = spend_leftover_cash(valuation, wishes, forced, below=below, nodes=nodes)
    by_one_line = made_up_by_one(valuation, wishes, forced)
    return min(filled, by_single_shares, by_one_line, key=valuation.rank)


class Sizing:
    """Searches whole shares for each line."""

    def __init__(self, valuation: Objective) -> None:
        self._valuation = valuation
        self._lines, self._least = valuation.lines, valuation.least
        self._thorough = len(self._lines) <= MANY_SYMBOLS
        self._below = BELOW_FEW if len(self._lines) <= FEW_SYMBOLS else BELOW if self._thorough else 0

    def run(self) -> State:
        """Final whole shares of each line."""
        best = self._start()
        if self._thorough:
            best = self._try_dear(improve(self._valuation, best))
        if len(self._lines) <= FEW_FOR_EXCHANGES:
            best = swap_many(self._valuation, best)
        return self._or_only_sell(best)

    def _start(self) -> State:
        """The better of two starts; where neither can be paid, buys are given up until the rest can."""
        valuation = self._valuation
        best = filled = self._solve(NO_FORCE, NODES)
        if self._thorough:
            best = min(valuation.state(self._nearest()), filled, key=valuation.rank)
        return best if valuation.is_feasible(best) else self._cut(filled)

    def _nearest(self) -> list[int]:
        """For each line the shares nearest to its target."""
        return [max(least, _nearest(line)) for line, least in zip(self._lines, self._least, strict=True)]

    def _solve(self, forced: Mapping[int, int], nodes: int) -> State:
        return solve(self._valuation, forced, below=self._below, nodes=nodes, thorough=self._thorough)

    def _cut(self, state: State) -> State:
        """Gives up buys until the money is enough: first shares that were promised can be too many for it."""
        for i in sorted(range(len(self._lines)), key=lambda i: (self._lines[i].target, self._lines[i].symbol)):
            if self._valuation.is_feasible(state):
                break
            state = self._valuation.changed(state, ((i, min(state.shares[i], self._lines[i].whole_held)),))
        return state

    def _try_dear(self, best: State) -> State:
        """Tries the dearest shares one up and one down, and improves the nearest of what comes of it."""
        valuation = self._valuation
        few = len(self._lines) <= FEW_FOR_EXCHANGES
        dearest, improved_most = (DEAREST, IMPROVED) if few else (DEAREST_OF_MANY, IMPROVED_OF_MANY)
        dear = [i for i, line in enumerate(self._lines) if line.mark * DEAR_SHARE > valuation.money.total]
        dear = sorted(dear, key=lambda i: (-self._lines[i].mark, self._lines[i].symbol))[:dearest]
        kept = {i: best.shares[i] for i in dear}
        found = [best]
        for i, now in kept.items():
            for n in (now - 1, now + 1):
                overshoots = n > now and self._lines[i].value_at(now) >= self._lines[i].target
                if n >= self._least[i] and not overshoots:
                    found += [self._solve(forced, NODES_AROUND_DEAR) for forced in ({i: n}, kept | {i: n})]
        nearest = sorted(dict.fromkeys(found), key=valuation.rank)[:improved_most]
        improved = [improve(valuation, state) for state in nearest if valuation.is_feasible(state)]
        return min(improved, key=valuation.rank, default=best)

    def _or_only_sell(self, best: State) -> State:
        """Where cash is below the reserve, buying nothing can be better than selling enough to buy."""
        valuation = self._valuation
        if valuation.money.cash >= valuation.money.floor:
            return best
        if any(least > line.whole_held for line, least in zip(self._lines, self._least, strict=True)):
            return best  # a first share has to be bought
        shares = best.shares if self._thorough else self._nearest()
        sells = valuation.state([min(n, line.whole_held) for n, line in zip(shares, self._lines, strict=True)])
        return min(best, improve(valuation, sells) if self._thorough else sells, key=valuation.objective)


def _nearest(line: Line) -> int:
    """The whole shares nearest to the target; the fewer of two that are as near."""
    shares, rest = divmod(line.target - line.value, line.mark)
    return line.whole_held + shares + (2 * rest > line.mark)
