"""Exact arithmetic: integer micro-dollars and 1e-8 shares inside, Decimal at the edges."""

from collections.abc import Iterable
from decimal import ROUND_HALF_EVEN, Decimal
from functools import lru_cache

MICRO, CENT = 10**6, 10**4
SHARE = 10**8
MICROS, SHARES = Decimal(MICRO), Decimal(SHARE)
ONE_MICRO, ONE_CENT, EIGHT_PLACES = Decimal("0.000001"), Decimal("0.01"), Decimal("0.00000001")


def to_micro(usd: Decimal) -> int:
    """Convert USD to micro-dollars, rounded half to even."""
    return round(usd * MICROS)


def from_micro(micro: int) -> Decimal:
    """Convert micro-dollars to USD."""
    return ONE_MICRO * micro


def value_of(quantity: Decimal, price_micro: int) -> int:
    """Return the value of signed shares (exact to 1e-8) at a price, in micro-dollars."""
    return round(quantity * SHARES) * price_micro // SHARE


def rounded(number: Decimal, places: Decimal) -> Decimal:
    """Round for output, half to even."""
    return number.quantize(places, ROUND_HALF_EVEN)


def fraction(part: int, whole: int) -> Decimal:
    """Return part / whole, rounded half up to eight places."""
    return EIGHT_PLACES * ((2 * SHARE * part + whole) // (2 * whole))


def eight_place_fractions(parts: Iterable[int], whole: int) -> list[int]:
    """Return each part / whole in units of 1e-8, rounded half up."""
    over, under = 2 * SHARE, 2 * whole
    return [(over * part + whole) // under for part in parts]


def percents(parts: Iterable[int], whole: int) -> list[str]:
    """Return each part / whole as text in percent with two places."""
    twice = 2 * whole
    return [_with_two_places((20_000 * part + whole) // twice) for part in parts]


@lru_cache(10_000)
def _with_two_places(hundredths: int) -> str:
    """Format hundredths; cached, because thousands of small weights share a few dozen texts."""
    units, rest = divmod(abs(hundredths), 100)
    return f"{'-' if hundredths < 0 else ''}{units}.{rest:02d}"
