"""Returns of an account without the money paid in or out, from its daily values. Pure: values in, values out.

Money paid in or out is inferred: it is the change of cash that the executions of the day do not explain. Dividends and
interest cannot be distinguished from a deposit that way, so that they count as money in: they never raise a return.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from itertools import pairwise

NOTHING = Decimal(0)
ROUNDING_USD = Decimal(1)
"""Largest change of cash that is a rounding difference, in US dollars."""
SMALL_FRACTION = Decimal("0.0005")
"""Largest fraction of the value that may leave an account in a day and still be a fee, which is part of the return."""
SAME_SHARES = Decimal("0.0001")


@dataclass(frozen=True)
class DayValue:
    """What the last look of a day at an account found, in US dollars.

    `shares` are signed quantities by symbol, as the text that is stored; None where they were not recorded.
    """

    day: date
    at: datetime
    value_usd: Decimal
    cash_usd: Decimal
    shares: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Execution:
    """One execution: signed shares, and the signed change of cash with its commission in US dollars."""

    at: datetime
    symbol: str
    quantity: Decimal
    cash_usd: Decimal


class Gap(StrEnum):
    """Why a day has no return."""

    NO_VALUE = "no_value"
    UNEXPLAINED = "unexplained_change"
    NO_CAPITAL = "no_capital"
    TOO_SHORT = "history_too_short"


@dataclass(frozen=True)
class DayReturn:
    """The return of a day as a fraction, or the reason why there is none.

    `flow_usd` is the money that was paid in, or out if it is negative. On a day whose gap is `unexplained_change` it
    is the part of the change of cash that has no explanation.
    """

    day: date
    fraction: Decimal | None
    flow_usd: Decimal = NOTHING
    gap: Gap | None = None

    @property
    def is_flow(self) -> bool:
        """Whether money was paid in or out."""
        return self.flow_usd != 0 and self.gap is not Gap.UNEXPLAINED


@dataclass(frozen=True)
class Period:
    """The return over several days in percent, or the first day without one and why; and the money in and out."""

    percent: Decimal | None
    gap: Gap | None
    gap_day: date | None
    money_in_usd: Decimal
    money_out_usd: Decimal


def day_return(before_usd: Decimal, after_usd: Decimal, flow_usd: Decimal) -> Decimal | None:
    """Return (after + money out) / (before + money in) - 1; None without capital at the start of the day."""
    if before_usd <= 0:
        return None
    money_in, money_out = max(flow_usd, NOTHING), max(-flow_usd, NOTHING)
    return (after_usd + money_out) / (before_usd + money_in) - 1


def daily_returns(
    values: Sequence[DayValue], executions: Iterable[Execution], sessions: Iterable[date]
) -> list[DayReturn]:
    """Return a return or a gap for each day after the first value.

    Args:
        values: the values by day, oldest first.
        executions: all executions since the first value.
        sessions: the days that should have a value; those before the first value do not count.
    """
    if not values:
        return []
    by_day = {value.day: value for value in values}
    days = sorted(by_day.keys() | {day for day in sessions if day > values[0].day})
    trades = sorted(executions, key=_instant)
    found = []
    for day_before, day in pairwise(days):
        before, after = by_day.get(day_before), by_day.get(day)
        if before is None or after is None:
            found.append(DayReturn(day, None, gap=Gap.NO_VALUE))
        else:
            first, last = (bisect_right(trades, at, key=_instant) for at in (before.at, after.at))
            found.append(_compare(before, after, trades[first:last]))
    return found


def _instant(execution: Execution) -> datetime:
    return execution.at


def _compare(before: DayValue, after: DayValue, executions: Sequence[Execution]) -> DayReturn:
    explained = sum((one.cash_usd for one in executions), NOTHING)
    unexplained = after.cash_usd - before.cash_usd - explained
    small = abs(before.value_usd) * SMALL_FRACTION
    if abs(unexplained) <= min(ROUNDING_USD, small) or -small <= unexplained < 0:
        unexplained = NOTHING
    if not _shares_agree(before, after, executions, has_flow=unexplained != 0):
        return DayReturn(after.day, None, unexplained, Gap.UNEXPLAINED)
    fraction = day_return(before.value_usd, after.value_usd, unexplained)
    return DayReturn(after.day, fraction, unexplained, Gap.NO_CAPITAL if fraction is None else None)


def _shares_agree(before: DayValue, after: DayValue, executions: Sequence[Execution], *, has_flow: bool) -> bool:
    """Return whether the executions explain the change of every position.

    Where they do not, somebody else traded or moved shares, and the change of cash is no money paid in or out. Where
    the positions were not recorded, only a day without an unexplained change of cash is believed.
    """
    if before.shares is None or after.shares is None:
        return not has_flow
    if not executions and before.shares == after.shares:
        return True  # the usual day: nothing is converted
    expected = {symbol: Decimal(quantity) for symbol, quantity in before.shares.items()}
    actual = {symbol: Decimal(quantity) for symbol, quantity in after.shares.items()}
    for one in executions:
        expected[one.symbol] = expected.get(one.symbol, NOTHING) + one.quantity
    return all(
        abs(expected.get(symbol, NOTHING) - actual.get(symbol, NOTHING)) < SAME_SHARES
        for symbol in expected.keys() | actual.keys()
    )


def period_return(returns: Sequence[DayReturn], since: date, first_value: date | None) -> Period:
    """Chain the returns of the days after `since`. One day without a return leaves no percentage.

    Args:
        returns: of consecutive days, oldest first.
        since: day at whose end the period starts.
        first_value: day of the first known value; a period that starts before it has no percentage.
    """
    days = [one for one in returns if one.day > since]
    flows = [one.flow_usd for one in days if one.is_flow]
    money_in = sum((flow for flow in flows if flow > 0), NOTHING)
    money_out = -sum((flow for flow in flows if flow < 0), NOTHING)
    if first_value is None or first_value > since or not days:
        return Period(None, Gap.TOO_SHORT, first_value, money_in, money_out)
    whole = Decimal(1)
    for one in days:
        if one.fraction is None:
            return Period(None, one.gap, one.day, money_in, money_out)
        whole *= 1 + one.fraction
    return Period((whole - 1) * 100, None, None, money_in, money_out)
