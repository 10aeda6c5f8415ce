"""What the broker charges."""

from decimal import ROUND_CEILING, Decimal

from calculator.money import MICRO
from calculator.values import Commission


class CommissionTable:
    """Commission of an order, in micro-dollars, never rounded down."""

    __slots__ = ("_is_rate", "_minimum", "_over", "_top", "_top_under", "_under")

    def __init__(self, commission: Commission) -> None:
        self._is_rate = commission.kind == "rate"
        charged = commission.rate if self._is_rate else commission.per_share * MICRO
        self._over, self._under = Decimal(charged).as_integer_ratio()
        self._minimum = int((commission.min_per_order * MICRO).to_integral_value(ROUND_CEILING))
        self._top, self._top_under = Decimal(commission.max_rate).as_integer_ratio()

    def of(self, shares: int, price_micro: int) -> int:
        """Commission for so many shares (not negative; none cost nothing) at a price in micro-dollars."""
        value = shares * price_micro
        if self._is_rate:
            return -(-value * self._over // self._under)
        charged = max(self._minimum, -(-shares * self._over // self._under))
        return min(charged, -(-value * self._top // self._top_under))
