"""Exact money: whole micro-dollars and hundred-millionths of a share inside, decimals at the edges."""

from decimal import ROUND_HALF_EVEN, Decimal

MICRO = 10**6
SHARE = 10**8
MICROS, SHARES = Decimal(MICRO), Decimal(SHARE)
ONE_MICRO, ONE_CENT, EIGHT_PLACES = Decimal("0.000001"), Decimal("0.01"), Decimal("0.00000001")

TWO_DIGITS = tuple(f"{number:02d}" for number in range(100))


def to_micro(usd: Decimal) -> int:
    """USD in micro-dollars, rounded half to even."""
    return round(usd * MICROS)


def from_micro(micro: int) -> Decimal:
    """Micro-dollars in USD."""
    return Decimal(micro) * ONE_MICRO


def value_of(quantity: Decimal, price_micro: int) -> int:
    """Value of signed shares (1e-8 exact) at a price, in micro-dollars."""
    return round(quantity * SHARES) * price_micro // SHARE


def plain(number: Decimal, places: Decimal) -> Decimal:
    """Rounded for people and JSON, half to even."""
    return number.quantize(places, ROUND_HALF_EVEN)


def fraction(part: int, whole: int) -> Decimal:
    """The part of the whole, to eight places, half up."""
    return Decimal((2 * part * SHARE + whole) // (2 * whole)) * EIGHT_PLACES


def percent(part: int, whole: int) -> str:
    """The part of the whole in percent, with two places, for people."""
    rounded = (20_000 * part + whole) // (2 * whole)
    units, hundredths = divmod(abs(rounded), 100)
    return f"{'-' if rounded < 0 else ''}{units}.{TWO_DIGITS[hundredths]}"
