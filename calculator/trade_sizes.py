"""Size the trades of the targets: the closest whole shares, or only what is worth its cost."""

from dataclasses import dataclass

from calculator.holdings import Holdings
from calculator.objective import Money, Objective, State
from calculator.selection import Selection
from calculator.share_bounds import nearest_shares
from calculator.sizing import Sizing

COST_WEIGHT = 8
"""How many times its own cost a trade must improve the account by, where the policy has a minimum improvement."""


@dataclass(frozen=True)
class SizedTrades:
    """Final whole shares of the free lines; `held_back` are the symbols whose trades improve the account too little."""

    objective: Objective
    state: State
    held_back: frozenset[str] = frozenset()


def size_trades(holdings: Holdings, selection: Selection) -> SizedTrades:
    """Return the final whole shares of the free lines."""
    money = Money(
        total=holdings.total,
        cash=holdings.cash + selection.proceeds,
        cash_floor=holdings.cash_floor,
        cash_target=holdings.cash_target,
    )
    objective = Objective(selection.free, selection.minimum, selection.maximum, money, holdings.charge)
    baseline = _baseline(objective, selection)
    least_bps = holdings.config.minimum_improvement_bps
    if not least_bps:
        return SizedTrades(objective, Sizing(objective, baseline).run())
    sized = objective.state(_calm_shares(holdings, objective, baseline, selection.band))
    improvement = objective.total_error(baseline) - objective.total_error(sized)
    if improvement * 10_000 >= least_bps * holdings.total:
        return SizedTrades(objective, sized)
    moved = zip(objective.lines, sized.shares, baseline.shares, strict=True)
    return SizedTrades(objective, baseline, frozenset(line.symbol for line, n, kept in moved if n != kept))


def _baseline(objective: Objective, selection: Selection) -> State:
    """Return the shares without band trades: those held and the first shares, with the sells that must pay for them."""
    obliged = [max(line.whole_held, least) for line, least in zip(objective.lines, objective.minimum, strict=True)]
    state = objective.state(obliged)
    if objective.is_feasible(state):
        return state
    sells = selection.first_shares.sells
    return objective.state([n - sells.get(line.symbol, 0) for line, n in zip(objective.lines, obliged, strict=True)])


def _calm_shares(holdings: Holdings, objective: Objective, baseline: State, band: int) -> tuple[int, ...]:
    """Return the best shares that move no line away from its own target, unless that brings others inside the band.

    Costs count several times. What these trades leave outside the band, cash included, is looked at again with the
    other lines free to move past their targets, by one share or to the edge of the band.
    """
    weighted = Objective(
        objective.lines, objective.minimum, objective.maximum, objective.money, holdings.charge, COST_WEIGHT
    )
    bounds = list(zip(objective.lines, objective.minimum, objective.maximum, strict=True))
    near = [max(least, min(nearest_shares(line), most)) for line, least, most in bounds]
    lowest = [max(least, min(line.whole_held, n)) for (line, least, _), n in zip(bounds, near, strict=True)]
    highest = [max(line.whole_held, n) for (line, _, _), n in zip(bounds, near, strict=True)]
    best = Sizing(weighted.within(lowest, highest), weighted.state(baseline.shares)).run()
    off = best.cash - objective.money.cash_target
    lacking = [
        i
        for i, (line, n) in enumerate(zip(objective.lines, best.shares, strict=True))
        if line.target - line.value_at(n) >= band and n < near[i]
    ]
    if not lacking and abs(off) < band:
        return best.shares
    further_down = bool(lacking) or off <= -band
    further_up = off >= band
    if further_down:
        lowest = [
            max(least, min(n, m - 1, line.whole_within(line.target - band) + 1))
            for (line, least, _), n, m in zip(bounds, lowest, near, strict=True)
        ]
    if further_up:
        highest = [min(most, max(n, m + 1)) for (_, _, most), n, m in zip(bounds, highest, near, strict=True)]
    else:
        highest = [n if i in lacking else m for i, (n, m) in enumerate(zip(highest, best.shares, strict=True))]
    lowest = [min(n, m) for n, m in zip(lowest, best.shares, strict=True)]
    return Sizing(weighted.within(lowest, highest), best).run().shares
