"""Sell for an amount of cash, and buy nothing. Prices and money are integer micro-dollars."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from calculator.errors import CalculationRefused
from calculator.fixed_point import from_micro
from calculator.holdings import Holdings
from calculator.line import Line
from calculator.selection import Selection, allowed_shares, reason_outside
from calculator.share_bounds import ShareBounds, share_bounds

ONE = 1 << 40
"""The level 1.0: a line at its target. Levels are integers in units of 1/ONE."""


@dataclass(frozen=True)
class _Source:
    """A line that can be sold for cash; `most` is in whole shares."""

    line: Line
    most: int
    is_model: bool

    def above(self, level: int) -> int:
        """Return the whole shares to sell, rounded up, so that no more than the level of its target is left."""
        excess = self.line.value - self.line.target * level // ONE
        return max(0, min(self.most, -(-excess // self.line.mark)))

    def part(self, shares: int) -> int:
        """Return the part of its target that is left after selling `shares`; 0 without a target."""
        line = self.line
        return line.value_at(line.whole_held - shares) * ONE // line.target if line.target else 0


def raise_cash(holdings: Holdings, selection: Selection) -> tuple[dict[str, int], int]:
    """Sell what brings the cash to the floor, at limit prices and less commissions.

    First what the model would sell in any case, the largest value first; then every target above a common level of its
    value, down to it. The last share of a target is sold only if the amount needs it, and no share that could be kept.
    The drift band, the minimum improvement and the smallest trade do not hold a sale back.

    Returns:
        Signed shares by symbol, and the cash afterwards at quotes.

    Raises:
        CalculationRefused: `raise_exceeds_value`.
    """
    need = holdings.cash_floor - holdings.cash
    if need <= 0:
        return {}, holdings.cash
    sources = _sources(holdings, keeps_last=True)
    sold = _sell(holdings, sources, need)
    if sold is None:
        sources = _sources(holdings, keeps_last=False)
        sold = _sell_last_shares(holdings, sources, need)
    lines = {source.line.symbol: source.line for source in sources}
    for symbol in sold:
        line = lines[symbol]
        selection.given_reasons[symbol] = "raises_cash" if line.target else reason_outside(line, holdings)
    cash = holdings.cash
    for symbol, shares in sold.items():
        value = shares * lines[symbol].bid
        cash += value - holdings.charge(shares, value)
    return {symbol: -shares for symbol, shares in sold.items()}, cash


def _sources(holdings: Holdings, *, keeps_last: bool) -> list[_Source]:
    """Return what can be sold: what the model sells in any case first, the largest value first, then the targets."""
    bounds = share_bounds(holdings)
    sources = []
    for line in holdings.lines:
        if line.tradable and line.whole_held:
            least = _fewest_left(line, holdings, bounds, keeps_last=keeps_last)
            sources.append(_Source(line, line.whole_held - least, line.is_target and line.target > 0))
    return sorted(
        [source for source in sources if source.most > 0],
        key=lambda source: (source.is_model, 0 if source.is_model else -source.line.value, source.line.symbol),
    )


def _fewest_left(line: Line, holdings: Holdings, bounds: ShareBounds, *, keeps_last: bool) -> int:
    if not line.is_target:
        return line.kept
    least, _ = allowed_shares(line, holdings)
    return max(least, int(keeps_last and bounds.is_promised(line)))


def _sell(holdings: Holdings, sources: Sequence[_Source], need: int) -> dict[str, int] | None:
    """Return the shares to sell by symbol; None if all of them bring too little."""
    first = {source.line.symbol: source.most for source in sources if not source.is_model}
    model = [source for source in sources if source.is_model]

    def at_level(level: int) -> dict[str, int]:
        return first | {source.line.symbol: source.above(level) for source in model}

    if _proceeds(holdings, first, sources) >= need:
        return _without_spare_shares(holdings, first, sources, need)
    if _proceeds(holdings, at_level(0), sources) < need:
        return None
    low, high = 0, max(source.part(0) for source in model) + 1
    while high - low > 1:
        level = (low + high) // 2
        if _proceeds(holdings, at_level(level), sources) >= need:
            low = level
        else:
            high = level
    return _without_spare_shares(holdings, at_level(low), sources, need)


def _sell_last_shares(holdings: Holdings, sources: Sequence[_Source], need: int) -> dict[str, int]:
    """Return the shares to sell by symbol, last shares included; the largest targets keep theirs where they can."""
    sold = {source.line.symbol: source.most for source in sources}
    spare = _proceeds(holdings, sold, sources) - need
    if spare < 0:
        raise CalculationRefused(
            "raise_exceeds_value",
            f"Cash is ${from_micro(need):.2f} short of the amount and the reserve, and sales bring at most "
            f"${from_micro(max(0, spare + need)):.2f}. Raise less, or change the rules that keep positions.",
        )
    for source in sorted(sources, key=lambda source: (-source.line.target, source.line.symbol)):
        one_less = _net(holdings, source.line, source.most) - _net(holdings, source.line, source.most - 1)
        if source.is_model and one_less <= spare:
            spare -= one_less
            sold[source.line.symbol] -= 1
    return _without_spare_shares(holdings, sold, sources, need)


def _without_spare_shares(
    holdings: Holdings, sold: Mapping[str, int], sources: Sequence[_Source], need: int
) -> dict[str, int]:
    """Return the sales without the shares that could be kept, those of the lowest part of a target first."""
    kept = dict(sold)
    spare = _proceeds(holdings, kept, sources) - need
    order = sorted(
        sources,
        key=lambda source: (not source.is_model, source.part(kept.get(source.line.symbol, 0)), source.line.symbol),
    )
    for source in order:
        line = source.line
        while kept.get(line.symbol, 0):
            one_less = _net(holdings, line, kept[line.symbol]) - _net(holdings, line, kept[line.symbol] - 1)
            if one_less > spare:
                break
            spare -= one_less
            kept[line.symbol] -= 1
    return {symbol: shares for symbol, shares in kept.items() if shares}


def _proceeds(holdings: Holdings, sold: Mapping[str, int], sources: Sequence[_Source]) -> int:
    """Return what sales bring at limit prices less commissions, in micro-dollars."""
    return sum([_net(holdings, source.line, sold.get(source.line.symbol, 0)) for source in sources])


def _net(holdings: Holdings, line: Line, shares: int) -> int:
    value = shares * line.sell_limit
    return value - holdings.charge(shares, value) if shares else 0
