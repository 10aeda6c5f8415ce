"""The sum of the weights of a strategy: at most 1, whatever their source."""

from decimal import Decimal

SUM_TOLERANCE = Decimal("0.0005")
"""Largest excess of the sum over 1 that is taken for rounding. Runs scale such weights to a sum of 1."""
_PERCENT_SUMS = Decimal(90), Decimal(110)


def sum_problem(total: Decimal) -> str | None:
    """Return why weights with this sum cannot be traded, or None."""
    if total <= 1 + SUM_TOLERANCE:
        return None
    lowest, highest = _PERCENT_SUMS
    if lowest <= total <= highest:
        return f"The weights add up to {short_number(total)} and look like percent. Write 0.25 for 25%."
    return f"The weights add up to {short_number(total)}. Reduce them by {short_number(total - 1)}."


def short_number(number: Decimal) -> str:
    """Return a number with at most eight decimals, without trailing zeros."""
    return f"{number:.8f}".rstrip("0").rstrip(".")
