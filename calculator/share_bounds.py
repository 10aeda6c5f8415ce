"""How many whole shares a target keeps or gets, and how many a buy may lead to. The only place that bounds a buy."""

from dataclasses import dataclass
from decimal import Decimal

from calculator.cash_reserve import HUNDRED
from calculator.fixed_point import from_micro, to_micro
from calculator.holdings import Holdings
from calculator.line import Line


@dataclass(frozen=True)
class ShareBounds:
    """The bounds of an account's policy. Money is in micro-dollars."""

    one_share: bool
    max_overshoot: int  # how far a buy, or the one share of a target, may end above the target
    least_weight: Decimal  # weight from which a target of less than half a share is promised one

    def most(self, line: Line) -> int:
        """Return the most whole shares that a buy may lead to; never less than is held.

        Without the one-share rule a buy may end half a share above its target.
        """
        overshoot = self.max_overshoot if self.one_share else line.mark // 2
        return max(line.whole_held, line.whole_within(line.target + overshoot))

    def is_large_enough(self, line: Line) -> bool:
        """Return whether a target is worth half a share, or has the least weight."""
        return 2 * line.target >= line.mark or line.weight >= self.least_weight

    def is_promised(self, line: Line) -> bool:
        """Return whether a target keeps, or gets, one share."""
        return self.one_share and self.is_large_enough(line) and not self.overshoots(line)

    def overshoots(self, line: Line) -> bool:
        """Return whether one share, with the fraction that is held, is too far above the target."""
        return line.value_at(1) - line.target > self.max_overshoot


def share_bounds(holdings: Holdings) -> ShareBounds:
    """Return the bounds of an account."""
    config = holdings.config
    return ShareBounds(
        one_share=config.one_share,
        max_overshoot=to_micro(from_micro(holdings.total) * config.one_share_max_overshoot_percent / HUNDRED),
        least_weight=config.one_share_min_weight_percent / HUNDRED,
    )


def nearest_shares(line: Line) -> int:
    """Return the whole shares nearest to the target, whatever the bounds; the lower number on a tie."""
    shares, rest = divmod(line.target - line.value, line.mark)
    return line.whole_held + shares + (2 * rest > line.mark)
