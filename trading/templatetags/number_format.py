"""Filters that write numbers in the forms of `calculator.formats`. A missing number is a dash."""

from collections.abc import Callable
from typing import Any

from django import template

from calculator import formats

register = template.Library()
NO_VALUE = "\N{EN DASH}"


def _or_dash(value: Any, text: Callable[..., str], *arguments: Any, **options: Any) -> str:
    return NO_VALUE if value is None or value == "" else text(value, *arguments, **options)


@register.filter
def money(value: Any, decimals: int = 2) -> str:
    """Write an amount in US dollars: 1234.5 becomes $1,234.50."""
    return _or_dash(value, formats.money, decimals)


@register.filter
def signed_money(value: Any, decimals: int = 2) -> str:
    """Write an amount in US dollars with its sign: +$3.00."""
    return _or_dash(value, formats.signed_money, decimals)


@register.filter
def price(value: Any) -> str:
    """Write a price in US dollars with two to four decimals: 49.9 becomes $49.90."""
    return _or_dash(value, formats.price)


@register.filter
def percent(value: Any, decimals: int = 1) -> str:
    """Write a number of percent: 12.34 becomes 12.3%. Negative `decimals` are a maximum: trailing zeros are dropped."""
    return _or_dash(value, formats.percent, abs(decimals), trim=decimals < 0)


@register.filter
def signed_percent(value: Any, decimals: int = 1) -> str:
    """Write a number of percent with its sign, a plus included: +1.5%."""
    return _or_dash(value, formats.signed_percent, decimals)


@register.filter
def points(value: Any, decimals: int = 1) -> str:
    """Write a number of percentage points: 1.25 becomes 1.3 pp. Negative `decimals` are a maximum."""
    return _or_dash(value, formats.points, abs(decimals), trim=decimals < 0)


@register.filter
def signed_points(value: Any, decimals: int = 1) -> str:
    """Write a number of percentage points with its sign, a plus included: +1.3 pp."""
    return _or_dash(value, formats.signed_points, decimals)


@register.filter
def signed(value: Any, decimals: int = 1) -> str:
    """Write a number with its sign, a plus included; what rounds to zero has none."""
    return _or_dash(value, formats.signed, decimals)


@register.filter
def number(value: Any, decimals: int | None = None) -> str:
    """Write any other number: 1234.50 becomes 1,234.5. Negative `decimals` are a maximum."""
    return _or_dash(value, formats.decimals, decimals if decimals is None else abs(decimals), trim=(decimals or 0) < 0)


@register.filter
def shares(value: Any) -> str:
    """Write a number of shares with thousands separators; a fraction has up to eight decimals."""
    return _or_dash(value, formats.shares)
