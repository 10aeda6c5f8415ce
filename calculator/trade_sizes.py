"""Size the trades of the targets: the closest whole shares, or only what is worth its cost."""

from dataclasses import dataclass

from calculator.holdings import Holdings
from calculator.objective import Money, Objective, State
from calculator.selection import Selection
from calculator.share_bounds import nearest_shares
from calculator.sizing import Sizing

COST_WEIGHT = 5
"""How many times its own cost a trade must improve the account by, where the policy has a minimum improvement."""
FAR_BANDS = 10
"""Distance from the target, in bands, from which other symbols move past their own targets to shorten it."""

Bounds = tuple[list[int], list[int]]
"""The lowest and the highest whole shares of each line."""


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
    baseline = obligatory_state(objective, selection)
    least_bps = holdings.config.minimum_improvement_bps
    if not least_bps:
        return SizedTrades(objective, Sizing(objective, baseline).run())
    sized = objective.state(_calm_shares(holdings, objective, baseline, selection.band))
    improvement = objective.total_error(baseline) - objective.total_error(sized)
    if improvement * 10_000 >= least_bps * holdings.total:
        return SizedTrades(objective, sized)
    moved = zip(objective.lines, sized.shares, baseline.shares, strict=True)
    return SizedTrades(objective, baseline, frozenset(line.symbol for line, n, kept in moved if n != kept))


def obligatory_state(objective: Objective, selection: Selection) -> State:
    """Return the shares without band trades: those held and the first shares, with the sells that must pay for them."""
    obliged = [
        min(max(line.whole_held, least), most)
        for line, least, most in zip(objective.lines, objective.minimum, objective.maximum, strict=True)
    ]
    state = objective.state(obliged)
    if objective.is_feasible(state):
        return state
    sells = selection.first_shares.sells
    return objective.state([n - sells.get(line.symbol, 0) for line, n in zip(objective.lines, obliged, strict=True)])


def _calm_shares(holdings: Holdings, objective: Objective, baseline: State, band: int) -> tuple[int, ...]:
    """Return the best shares that move no line away from its own target; costs count several times.

    If that leaves a line or the cash far outside the band, the others may move past their targets to change it.
    """
    weighted = Objective(
        objective.lines, objective.minimum, objective.maximum, objective.money, holdings.charge, COST_WEIGHT
    )
    towards = _towards_targets(objective)
    best = Sizing(weighted.within(*towards), weighted.state(baseline.shares)).run()
    past = _past_targets(objective, best, towards, band)
    return (Sizing(weighted.within(*past), best).run() if past else best).shares


def _towards_targets(objective: Objective) -> Bounds:
    """Return the bounds between the shares that are held and those nearest to the target, for each line."""
    lowest, highest = [], []
    for line, least, most in zip(objective.lines, objective.minimum, objective.maximum, strict=True):
        near = max(least, min(nearest_shares(line), most))
        lowest.append(max(least, min(line.whole_held, near)))
        highest.append(max(min(line.whole_held, most), near))
    return lowest, highest


def _past_targets(objective: Objective, state: State, towards: Bounds, band: int) -> Bounds | None:
    """Return bounds within which the lines pay for what is far outside the band; None if nothing is.

    Lines are sold to the edge of the band, or to one share less than nearest, for buys of a line that is far below its
    target, or if cash is short. They are bought to one share more than nearest if much cash is idle.
    """
    lowest, highest = (list(bounds) for bounds in towards)
    idle = state.cash - objective.money.cash_target
    lacking = [
        line.target - line.value_at(n) >= FAR_BANDS * band and n < most
        for line, n, most in zip(objective.lines, state.shares, highest, strict=True)
    ]
    is_short, is_idle = idle <= -band or state.cash < 0, idle >= FAR_BANDS * band
    if not (is_short or is_idle or any(lacking)):
        return None
    for i, (line, n) in enumerate(zip(objective.lines, state.shares, strict=True)):
        if is_idle:
            highest[i] = min(objective.maximum[i], max(highest[i], nearest_shares(line) + 1))
        elif not lacking[i]:
            highest[i] = n
        if is_short or any(lacking):
            edge = min(nearest_shares(line), line.whole_within(line.target - band) + 1)
            lowest[i] = max(objective.minimum[i], min(n, edge - 1))
    return lowest, highest
