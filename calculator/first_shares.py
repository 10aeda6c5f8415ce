"""Choose the missing targets that get a first share, and the sells that pay for it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from calculator.holdings import Holdings
from calculator.line import Line
from calculator.share_bounds import ShareBounds


@dataclass(frozen=True)
class FirstShares:
    """Symbols that get a first share; those that do not, with the reason; and the sells that are certain to be made."""

    chosen: frozenset[str]
    skipped: dict[str, str]
    sells: dict[str, int]  # whole shares above the target, by symbol


NO_FIRST_SHARES = FirstShares(frozenset(), {}, {})


def choose_first_shares(
    targets: Iterable[Line], moving: Sequence[Line], bounds: ShareBounds, holdings: Holdings, proceeds: int
) -> FirstShares:
    """Give each missing target that is promised a share one share, in order of weight, as far as the money reaches.

    The money is the cash above the floor, the liquidations and the shares above target of the lines that are sized: a
    line inside the band is not sold, and cannot pay for another.

    Args:
        targets: targets with a valid quote.
        moving: those that are sized whatever is chosen here.
        bounds: which targets are promised a share.
        holdings: the account.
        proceeds: of the liquidations, in micro-dollars.
    """
    missing = [line for line in targets if line.whole_held == 0 and bounds.is_large_enough(line)]
    if not missing or not bounds.one_share:
        return NO_FIRST_SHARES
    sells = _sells_above_target(moving, bounds)
    money = holdings.cash - holdings.cash_floor + proceeds + _proceeds(moving, sells, holdings)
    chosen, skipped = set(), {}
    for line in sorted(missing, key=lambda line: (-line.weight, line.symbol)):
        cost = line.buy_limit + holdings.charge(1, line.buy_limit)
        if bounds.overshoots(line):
            skipped[line.symbol] = "one share is too far above its target"
        elif cost > money:
            skipped[line.symbol] = "not enough cash"
        else:
            chosen.add(line.symbol)
            money -= cost
    return FirstShares(frozenset(chosen), skipped, sells)


def _sells_above_target(moving: Iterable[Line], bounds: ShareBounds) -> dict[str, int]:
    """Return the whole shares above the targets by symbol; what is promised one share keeps it."""
    sells = {}
    for line in moving:
        shares = min((line.value - line.target) // line.mark, line.whole_held - bounds.is_promised(line))
        if shares > 0:
            sells[line.symbol] = shares
    return sells


def _proceeds(lines: Iterable[Line], sells: dict[str, int], holdings: Holdings) -> int:
    """Return the proceeds of the sells at the bid, less commissions, in micro-dollars."""
    values = [(sells[line.symbol], sells[line.symbol] * line.bid) for line in lines if line.symbol in sells]
    return sum(value - holdings.charge(shares, value) for shares, value in values)
