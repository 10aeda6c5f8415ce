"""One symbol of the account in integers."""

from dataclasses import dataclass
from decimal import Decimal

ZERO = Decimal(0)


@dataclass(slots=True)
class Line:
    """One symbol; prices and values in micro-dollars.

    Not changed once the holdings are made; not frozen, because creating thousands of frozen lines takes longer than
    using them.
    """

    symbol: str
    held: Decimal
    weight: Decimal
    is_target: bool
    mark: int
    bid: int
    ask: int
    buy_limit: int
    sell_limit: int
    tradable: bool  # has a valid quote, and both limit prices are above zero
    value: int
    whole_held: int  # whole shares that could be sold
    target: int = 0
    kept: int = 0  # whole shares that stay, of a line without weight

    def whole_within(self, value: int) -> int:
        """Return the most whole shares worth at most `value`; negative if the fraction alone is worth more."""
        return self.whole_held + (value - self.value) // self.mark

    def value_at(self, shares: int) -> int:
        """Return the value with `shares` whole shares; a held fraction stays."""
        return self.value + (shares - self.whole_held) * self.mark
