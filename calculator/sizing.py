"""Find whole shares for the free targets: close to target, affordable at limit prices, one direction per symbol.

The search has two starting points: every line rounded to its nearest share, and the best use of the cash. Then
high-priced lines whose targets are far from any whole share are forced to the shares around their targets, the rest is
solved again, and the best results are improved by small swaps. All sums are integer micro-dollars, so that results do
not depend on rounding or row order.
"""

from collections.abc import Mapping
from itertools import product

from calculator.leftover_cash import spend_leftover_cash
from calculator.line import Line
from calculator.objective import Objective, State
from calculator.scale_down import affordable_shares, is_affordable, take_from_one_line
from calculator.share_bounds import nearest_shares
from calculator.swaps import improve, swap_many

FORCED, IMPROVED = 3, 6
"""Number of high-priced lines that are forced up and down, and number of the results that are improved."""
FORCED_OF_MANY, IMPROVED_OF_MANY = 4, 4
"""The same with many lines, where other lines matter more and swaps less."""
HIGH_PRICE_PARTS = 10_000
"""A share is high-priced when it is worth more than 1/10,000 of the account (a basis point)."""
FEW_SYMBOLS, FEW_FOR_SWAPS = 12, 30
BELOW, BELOW_FEW = 1, 2
"""Shares of a line that may be given up for other lines; one more with few symbols, where a swap needs several."""
MANY_SYMBOLS = 150
"""Number of symbols above which single shares are too small to matter and the first solution is kept."""
NODES, NODES_HIGH_PRICED = 1_500, 40
"""Maximum number of branch-and-bound nodes, for the main search and for each search around a high-priced line."""
NO_FORCE: Mapping[int, int] = {}


def solve(
    objective: Objective,
    forced: Mapping[int, int] = NO_FORCE,
    *,
    below: int = 0,
    nodes: int = NODES,
    thorough: bool = False,
) -> State:
    """Return the best use of the cash with the forced lines fixed; infeasible if those cannot be paid.

    Args:
        objective: the lines and the cash.
        forced: fixed shares by line index.
        below: shares of a line that may be given up for others; 0 keeps a shortage proportional.
        nodes: maximum number of branch-and-bound nodes.
        thorough: whether a shortage may also be taken from single shares, or from one line, if that is closer.
    """
    ideal = objective.changed(objective.ideal, forced.items()) if forced else objective.ideal
    if forced and not (objective.is_feasible(ideal) or is_affordable(objective, forced)):
        return ideal
    base = affordable_shares(objective, ideal, forced)
    filled = spend_leftover_cash(objective, base, forced, below=below, nodes=nodes)
    if base is ideal or not thorough:
        return filled
    by_single_shares = spend_leftover_cash(objective, ideal, forced, below=below, nodes=nodes)
    by_one_line = take_from_one_line(objective, ideal, forced)
    return min(filled, by_single_shares, by_one_line, key=objective.rank)


class Sizing:
    """Search whole shares for each line; `baseline` is a feasible state that the result is never worse than."""

    def __init__(self, objective: Objective, baseline: State) -> None:
        self._objective, self._baseline = objective, baseline
        self._lines, self._least = objective.lines, objective.minimum
        self._thorough = len(self._lines) <= MANY_SYMBOLS
        self._below = BELOW_FEW if len(self._lines) <= FEW_SYMBOLS else BELOW if self._thorough else 0

    def run(self) -> State:
        """Return the final whole shares of each line."""
        best = self._start()
        if self._thorough:
            best = self._try_high_priced(improve(self._objective, best))
        if len(self._lines) <= FEW_FOR_SWAPS:
            best = swap_many(self._objective, best)
        return min(self._baseline, self._or_sell_only(best), key=self._objective.rank)

    def _start(self) -> State:
        """Return the better of two starting points, or the baseline if neither is affordable."""
        objective = self._objective
        best = self._solve(NO_FORCE, NODES)
        if self._thorough:
            best = min(objective.state(self._nearest()), best, key=objective.rank)
        return best if objective.is_feasible(best) else self._baseline

    def _nearest(self) -> list[int]:
        """Return the shares nearest to the target within the bounds, for each line."""
        objective = self._objective
        return [
            max(minimum, min(nearest_shares(line), maximum))
            for line, minimum, maximum in zip(self._lines, objective.minimum, objective.maximum, strict=True)
        ]

    def _solve(self, forced: Mapping[int, int], nodes: int) -> State:
        return solve(self._objective, forced, below=self._below, nodes=nodes, thorough=self._thorough)

    def _try_high_priced(self, best: State) -> State:
        """Force high-priced lines up and down, solve the others again around them, and improve the best results."""
        objective = self._objective
        few = len(self._lines) <= FEW_FOR_SWAPS
        forced_most, improved_most = (FORCED, IMPROVED) if few else (FORCED_OF_MANY, IMPROVED_OF_MANY)
        forces = self._forces(best, forced_most)
        found = [best, *[self._solve(forced, NODES_HIGH_PRICED) for forced in forces]]
        nearest = sorted(dict.fromkeys(found), key=objective.rank)[:improved_most]
        improved = [improve(objective, state) for state in nearest if objective.is_feasible(state)]
        return min(improved, key=objective.rank, default=best)

    def _forces(self, best: State, most: int) -> list[Mapping[int, int]]:
        """Return the shares to force, by line index: all roundings of a few high-priced lines, and single changes."""
        objective = self._objective
        high_priced = [i for i, line in enumerate(self._lines) if line.mark * HIGH_PRICE_PARTS > objective.money.total]
        high_priced.sort(key=lambda i: (-_rounding_error(self._lines[i]), self._lines[i].symbol))
        del high_priced[most:]
        roundings = [
            [n for n in (objective.ideal.shares[i], objective.ideal.shares[i] + 1) if n <= objective.maximum[i]]
            for i in high_priced
        ]
        together = [dict(zip(high_priced, shares, strict=True)) for shares in product(*roundings) if shares]
        singly = [
            {i: n}
            for i in high_priced
            for n in (best.shares[i] - 1, best.shares[i] + 1)
            if self._least[i] <= n <= objective.maximum[i]
        ]
        return [*together, *singly]

    def _or_sell_only(self, best: State) -> State:
        """Compare with selling only: with cash below the reserve, buying nothing can be closer to the targets."""
        objective = self._objective
        if objective.money.cash >= objective.money.cash_floor:
            return best
        if any(minimum > line.whole_held for line, minimum in zip(self._lines, self._least, strict=True)):
            return best  # a first share has to be bought
        shares = best.shares if self._thorough else self._nearest()
        sells = objective.state([min(n, line.whole_held) for n, line in zip(shares, self._lines, strict=True)])
        return min(best, improve(objective, sells) if self._thorough else sells, key=objective.total_error)


def _rounding_error(line: Line) -> int:
    """Return the distance of the target from the nearest whole share, in micro-dollars."""
    rest = (line.target - line.value) % line.mark
    return min(rest, line.mark - rest)
