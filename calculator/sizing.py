"""Whole shares for the free targets: near the targets, affordable at the limits, one direction a symbol.

Two starts: every line at its nearest share, and what the money is best spent on. Then the dearest shares are forced one
up and one down with everything else solved again around them, and what is left is improved by small exchanges. All sums
are whole micro-dollars, so that nothing depends on rounding or on the order of rows.
"""

from collections.abc import Mapping, Sequence

from calculator.exchanges import exchange_many, improve
from calculator.fill import fill
from calculator.holdings import Line
from calculator.shortage import base_shares
from calculator.valuation import NO_LIMIT, Money, State, Valuation
from calculator.values import Commission

DEAREST = 3
DEAR_SHARE = 10_000
"""A share is dear when it is worth more than one part in so many of the account (a basis point)."""
FEW_SYMBOLS = 12
BELOW, BELOW_FEW = 1, 2
"""Shares of a line that may be given up for others; with few symbols one more, since an exchange needs several."""
MANY_SYMBOLS = 150
"""Beyond, single shares are too small to matter, and the fill alone is as near as can be."""
NODES, NODES_AROUND_DEAR = 1_500, 60
NO_FORCE: Mapping[int, int] = {}


def solve(valuation: Valuation, forced: Mapping[int, int] = NO_FORCE, *, below: int = 0, nodes: int = NODES) -> State:
    """What the money is best spent on, with the forced lines as they are; not feasible if they cannot be paid.

    Args:
        valuation: the lines and the money.
        forced: shares by the number of a line, where they are given.
        below: how many shares of a line may be given up for others; none keeps a shortage in proportion.
        nodes: how long the search for single shares may be.
    """
    return fill(valuation, base_shares(valuation, forced), forced, below=below, nodes=nodes)


class Sizing:
    """Searches whole shares for each line."""

    def __init__(self, lines: Sequence[Line], least: Mapping[str, int], money: Money, commission: Commission) -> None:
        self._lines = lines
        self._least = [least[line.symbol] for line in lines]
        self._below = BELOW_FEW if len(lines) <= FEW_SYMBOLS else BELOW
        self._valuation = Valuation(lines, self._least, [NO_LIMIT] * len(lines), money, commission)

    def run(self) -> list[int]:
        """Final whole shares of each line, in their order."""
        if not self._lines:
            return []
        best = self._start()
        if len(self._lines) <= MANY_SYMBOLS:
            best = self._try_dear(improve(self._valuation, best))
        if len(self._lines) <= FEW_SYMBOLS:
            best = exchange_many(self._valuation, best)
        return list(self._or_only_sell(best).shares)

    def _start(self) -> State:
        """The better of two starts; where neither can be paid, buys are given up until the rest can."""
        filled = solve(self._valuation, below=self._below)
        nearest = self._valuation.state(
            [max(least, _nearest(line)) for line, least in zip(self._lines, self._least, strict=True)]
        )
        starts = [state for state in (nearest, filled) if self._valuation.is_feasible(state)]
        return min(starts, key=self._valuation.objective) if starts else self._cut(list(filled.shares))

    def _cut(self, shares: list[int]) -> State:
        """Gives up buys until the money is enough: first shares that were promised can be too many for it."""
        for i in sorted(range(len(shares)), key=lambda i: (self._lines[i].target, self._lines[i].symbol)):
            if self._valuation.is_feasible(self._valuation.state(shares)):
                break
            shares[i] = min(shares[i], self._lines[i].whole_held)
        return self._valuation.state(shares)

    def _try_dear(self, best: State) -> State:
        """Tries the dearest shares one up and one down, with everything else solved again around them."""
        valuation = self._valuation
        dear = [i for i, line in enumerate(self._lines) if line.mark * DEAR_SHARE > valuation.money.total]
        dear.sort(key=lambda i: (-self._lines[i].mark, self._lines[i].symbol))
        tried = best
        for i in dear[:DEAREST]:
            for n in (tried.shares[i] - 1, tried.shares[i] + 1):
                if n < self._least[i]:
                    continue
                state = solve(valuation, {i: n}, below=self._below, nodes=NODES_AROUND_DEAR)
                if valuation.is_feasible(state) and valuation.objective(state) < valuation.objective(best):
                    best = state
        return improve(valuation, best) if best is not tried else best

    def _or_only_sell(self, best: State) -> State:
        """Where cash is below the reserve, buying nothing can be better than selling enough to buy."""
        valuation = self._valuation
        if valuation.money.cash >= valuation.money.floor:
            return best
        shares = [
            max(least, min(n, line.whole_held))
            for n, line, least in zip(best.shares, self._lines, self._least, strict=True)
        ]
        sells = valuation.state(shares)
        if sells.buys:
            return best
        return min(best, improve(valuation, sells), key=valuation.objective)


def _nearest(line: Line) -> int:
    """The whole shares nearest to the target; the fewer of two that are as near."""
    shares, rest = divmod(line.target - line.value, line.mark)
    return line.whole_held + shares + (2 * rest > line.mark)
