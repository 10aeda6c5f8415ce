"""Exact money: whole micro-dollars and hundred-millionths of a share inside, decimals at the edges."""

from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal

MICRO = 10**6
SHARE = 10**8


def to_micro(usd: Decimal) -> int:
    """USD in micro-dollars, rounded half to even."""
    return int((usd * MICRO).to_integral_value(ROUND_HALF_EVEN))


def from_micro(micro: int) -> Decimal:
    """Micro-dollars in USD."""
    return Decimal(micro) / MICRO


def value_of(quantity: Decimal, price_micro: int) -> int:
    """Value of signed shares (1e-8 exact) at a price, in micro-dollars."""
    units = int((quantity * SHARE).to_integral_value(ROUND_HALF_EVEN))
    return units * price_micro // SHARE


def up_to_tick(price: Decimal, tick: Decimal) -> Decimal:
    """The price rounded up to the tick grid."""
    return ((price / tick).to_integral_value(ROUND_CEILING) * tick).quantize(tick)


def down_to_tick(price: Decimal, tick: Decimal) -> Decimal:
    """The price rounded down to the tick grid."""
    return ((price / tick).to_integral_value(ROUND_FLOOR) * tick).quantize(tick)


def plain(number: Decimal, places: str = "0.000001") -> Decimal:
    """Rounded for people and JSON."""
    return number.quantize(Decimal(places), ROUND_HALF_EVEN)
