"""The rules by their dates. A rule that ends or changes is a new line here, and no new code."""

from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True)
class DayTradeRule:
    """Most day trades in a window of sessions, on the days on which a broker may hold an account to it."""

    first_day: date
    last_day: date
    day_trades: int  # so many make a pattern
    sessions: int
    source: str


@dataclass(frozen=True)
class Settlement:
    """After how many sessions the money of a sale is there."""

    first_day: date
    sessions: int
    source: str


DAY_TRADE_RULES = (
    # Repealed on 2026-06-04; brokers have until 2027-10-20 to stop applying it.
    DayTradeRule(date(2001, 9, 28), date(2027, 10, 20), 4, 5, "FINRA Rule 4210(f)(8)(B)"),
)
SETTLEMENTS = (
    Settlement(date(2017, 9, 5), 2, "SEC Rule 15c6-1 as amended in 2017"),
    Settlement(date(2024, 5, 28), 1, "SEC Rule 15c6-1 as amended in 2023"),
)


def day_trade_rule(day: date) -> DayTradeRule | None:
    """The rule that a broker may apply on the day."""
    return next((rule for rule in DAY_TRADE_RULES if rule.first_day <= day <= rule.last_day), None)


def settlement_sessions(day: date) -> int:
    """After how many sessions a sale of the day settles."""
    return [rule.sessions for rule in SETTLEMENTS if rule.first_day <= day][-1]
