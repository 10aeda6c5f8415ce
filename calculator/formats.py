"""Numbers as text, in one form on pages, in messages and in commands: $1,458.00, 19.7%, +1.3 pp, 12.5 shares.

Every number is rounded half up, has thousands separators and a real minus sign; what rounds to zero has no sign.
JSON, CSV and logs do not use these forms.
"""

from decimal import ROUND_HALF_UP, Decimal, localcontext

Number = Decimal | int | float

MINUS, PLUS = "\N{MINUS SIGN}", "+"
SHARE_PLACES = 8
"""Maximum decimals of a number of shares."""


def decimals(number: Number, places: int | None = None, *, trim: bool = False) -> str:
    """Return a number with `places` decimals; without `places`, with all decimals that it has.

    `trim` drops trailing zeros after the decimal point.
    """
    value = number if isinstance(number, Decimal) else Decimal(str(number))
    with localcontext(rounding=ROUND_HALF_UP):
        text = f"{value:z,f}" if places is None else f"{value:z,.{places}f}"
    if (trim or places is None) and "." in text:
        text = text.rstrip("0").rstrip(".")
    return text.replace("-", MINUS)


def signed(number: Number, places: int = 1) -> str:
    """Return a number with its sign, a plus included: +1.5, and 0.0 for what rounds to zero."""
    text = decimals(number, places)
    return text if text.startswith(MINUS) or not text.strip("0.,") else f"{PLUS}{text}"


def money(usd: Number, places: int = 2) -> str:
    """Return US dollars: $1,234.50."""
    return _in_dollars(decimals(usd, places))


def signed_money(usd: Number, places: int = 2) -> str:
    """Return US dollars with their sign, a plus included: +$3.00."""
    return _in_dollars(signed(usd, places))


def price(usd: Number) -> str:
    """Return a price in US dollars with two to four decimals: $49.90, $0.1234."""
    whole, _, rest = decimals(usd, 4).partition(".")
    return _in_dollars(f"{whole}.{rest[:2]}{rest[2:].rstrip('0')}")


def percent(number: Number, places: int | None = 1, *, trim: bool = False) -> str:
    """Return a number of percent: 12.34 is 12.3%. Without `places`, it has all its decimals, as a limit was typed."""
    return f"{decimals(number, places, trim=trim)}%"


def signed_percent(number: Number, places: int = 1) -> str:
    """Return a number of percent with its sign, a plus included: +1.5%."""
    return f"{signed(number, places)}%"


def points(number: Number, places: int | None = 1, *, trim: bool = False) -> str:
    """Return a number of percentage points: 1.25 is 1.3 pp."""
    return f"{decimals(number, places, trim=trim)} pp"


def signed_points(number: Number, places: int = 1) -> str:
    """Return a number of percentage points with its sign, a plus included: +1.3 pp."""
    return f"{signed(number, places)} pp"


def shares(number: Number) -> str:
    """Return a number of shares; fractions have up to eight decimals: 1,234, 0.5."""
    return decimals(number, SHARE_PLACES, trim=True)


def _in_dollars(text: str) -> str:
    sign = text[:1] if text[:1] in {MINUS, PLUS} else ""
    return f"{sign}${text.removeprefix(sign)}"
