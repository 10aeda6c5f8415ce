"""Commission of an order."""

from collections.abc import Callable
from decimal import ROUND_CEILING, Decimal

from calculator.fixed_point import MICRO
from calculator.plan_types import Commission

Charge = Callable[[int, int], int]
"""Commission in micro-dollars of an order, from its shares and its value in micro-dollars; 0 for no shares."""


def charge_by(commission: Commission) -> Charge:
    """Return the commission function of a model. Commissions are never rounded down."""
    if commission.kind == "rate":
        return _by_rate(commission.rate) if commission.rate else _nothing
    return _by_share(commission)


def _nothing(_shares: int, _value: int) -> int:
    return 0


def _by_rate(rate: Decimal) -> Charge:
    over, under = rate.as_integer_ratio()

    def charge(_shares: int, value: int) -> int:
        return -(-value * over // under)

    return charge


def _by_share(commission: Commission) -> Charge:
    minimum = int((commission.min_per_order * MICRO).to_integral_value(ROUND_CEILING))
    over, under = (commission.per_share * MICRO).as_integer_ratio()
    top, top_under = commission.max_rate.as_integer_ratio()

    def charge(shares: int, value: int) -> int:
        charged = -(-shares * over // under)
        if charged < minimum:
            charged = minimum
        maximum = -(-value * top // top_under)
        return charged if charged < maximum else maximum

    return charge
