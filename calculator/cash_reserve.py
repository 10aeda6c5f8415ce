"""The cash floor: the cash that no plan may spend."""

from decimal import Decimal

from calculator.errors import CalculationRefused
from calculator.fixed_point import from_micro, to_micro
from calculator.plan_types import AccountConfig

HUNDRED = Decimal(100)


def cash_floor(total: int, config: AccountConfig) -> int:
    """Return the larger of the two cash reserves, plus what is set aside, in micro-dollars.

    Args:
        total: account value, in micro-dollars.
        config: the policy with the minimum cash, the cash reserve in percent, and the amount set aside.

    Raises:
        CalculationRefused: `reserve_exceeds_value`.
    """
    reserve = max(to_micro(config.min_cash_usd), to_micro(from_micro(total) * config.cash_reserve_percent / HUNDRED))
    floor = reserve + to_micro(config.set_aside_usd)
    if total <= floor:
        raise CalculationRefused(
            "reserve_exceeds_value",
            f"The cash reserve of ${from_micro(floor):.2f} is at least the account value of ${from_micro(total):.2f}. "
            "Lower the reserve or what is set aside.",
        )
    return floor
