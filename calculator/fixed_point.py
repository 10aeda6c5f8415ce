"""Exact money: whole micro-dollars and hundred-millionths of a share inside, decimals at the edges."""

from collections.abc import Iterable
from decimal import ROUND_HALF_EVEN, Decimal
from functools import lru_cache

MICRO, CENT = 10**6, 10**4
SHARE = 10**8
MICROS, SHARES = Decimal(MICRO), Decimal(SHARE)
ONE_MICRO, ONE_CENT, EIGHT_PLACES = Decimal("0.000001"), Decimal("0.01"), Decimal("0.00000001")


def to_micro(usd: Decimal) -> int:
    """USD in micro-dollars, rounded half to even."""
    return round(usd * MICROS)


def from_micro(micro: int) -> Decimal:
    """Micro-dollars in USD."""
    return ONE_MICRO * micro


def value_of(quantity: Decimal, price_micro: int) -> int:
    """Value of signed shares (1e-8 exact) at a price, in micro-dollars."""
    return round(quantity * SHARES) * price_micro // SHARE


def plain(number: Decimal, places: Decimal) -> Decimal:
    """Rounded for people and JSON, half to even."""
    return number.quantize(places, ROUND_HALF_EVEN)


def fraction(part: int, whole: int) -> Decimal:
    """The part of the whole, to eight places, half up."""
    return EIGHT_PLACES * ((2 * SHARE * part + whole) // (2 * whole))


def hundred_millionths(parts: Iterable[int], whole: int) -> list[int]:
    """The parts of the whole, each to eight places, half up, without their point."""
    over, under = 2 * SHARE, 2 * whole
    return [(over * part + whole) // under for part in parts]


def percents(parts: Iterable[int], whole: int) -> list[str]:
    """The parts of the whole in percent, each with two places, for people."""
    twice = 2 * whole
    return [_with_two_places((20_000 * part + whole) // twice) for part in parts]


@lru_cache(10_000)
def _with_two_places(hundredths: int) -> str:
    """Kept, since thousands of small weights have only a few dozen texts."""
    units, rest = divmod(abs(hundredths), 100)
    return f"{'-' if hundredths < 0 else ''}{units}.{rest:02d}"
