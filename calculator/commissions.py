"""What the broker charges."""

from decimal import ROUND_CEILING, Decimal

from calculator.money import MICRO
from calculator.values import Commission


class CommissionTable:
    """Commission of an order, in micro-dollars, never rounded down."""

    def __init__(self, commission: Commission) -> None:
        self._is_rate = commission.kind == "rate"
        self._rate = Decimal(commission.rate).as_integer_ratio()
        self._per_share = Decimal(commission.per_share * MICRO).as_integer_ratio()
        self._minimum = int((commission.min_per_order * MICRO).to_integral_value(ROUND_CEILING))
        self._max_rate = Decimal(commission.max_rate).as_integer_ratio()

    def of(self, shares: int, price_micro: int) -> int:
        """Commission for so many shares (not negative) at a price in micro-dollars."""
        if shares == 0:
            return 0
        if self._is_rate:
            top, under = self._rate
            return -(-shares * price_micro * top // under)
        charged = max(self._minimum, _times(shares, self._per_share))
        return min(charged, _times(shares * price_micro, self._max_rate))


def _times(amount: int, ratio: tuple[int, int]) -> int:
    return -(-amount * ratio[0] // ratio[1])
