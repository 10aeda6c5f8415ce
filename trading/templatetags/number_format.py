"""Filters that write numbers as the pages show them. A missing number is a dash."""

from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from django import template
from django.template.defaultfilters import floatformat

register = template.Library()
NO_VALUE = "\N{EN DASH}"


@register.filter
def money(value: Any, decimals: int = 2) -> str:
    """Write an amount in US dollars: 1234.5 becomes $1,234.50."""
    return NO_VALUE if value is None else f"${floatformat(value, f'{decimals}g')}"


@register.filter
def signed_money(value: Any, decimals: int = 2) -> str:
    """Write an amount in US dollars with its sign: +$3.00."""
    if value is None:
        return NO_VALUE
    amount = Decimal(str(value))
    sign = "\N{MINUS SIGN}" if amount < 0 else "+" if amount > 0 else ""
    return f"{sign}{money(abs(amount), decimals)}"


@register.filter
def percent(value: Any, decimals: int = 1) -> str:
    """Write a number of percent: 12.34 becomes 12.3%. Negative `decimals` drop trailing zeros, as in `floatformat`."""
    return NO_VALUE if value is None else f"{floatformat(value, decimals)}%"


@register.filter
def points(value: Any, decimals: int = 1) -> str:
    """Write a number of percentage points: 1.25 becomes 1.3 pp."""
    return NO_VALUE if value is None else f"{floatformat(value, decimals)} pp"


@register.filter
def signed(value: Any, decimals: int = 1) -> str:
    """Write a number with its sign, a plus included; what rounds to zero has none."""
    if value is None:
        return NO_VALUE
    rounded = Decimal(str(value)).quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_UP)
    return f"{'+' if rounded > 0 else ''}{floatformat(value, decimals)}"


@register.filter
def shares(value: Any) -> str:
    """Write a number of shares without decimals and with thousands separators."""
    return NO_VALUE if value is None else str(floatformat(value, "0g"))
