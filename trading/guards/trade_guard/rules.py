"""Day trade and settlement rules by date. When a rule ends or changes, add a row; no code changes."""

from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True)
class DayTradeRule:
    """Pattern day trader rule: `day_trades` within `sessions` make a pattern. Brokers may apply it on these days."""

    first_day: date
    last_day: date
    day_trades: int
    sessions: int
    source: str


@dataclass(frozen=True)
class Settlement:
    """Number of sessions until a sale settles."""

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
    """Return the rule that a broker may apply on the day."""
    return next((rule for rule in DAY_TRADE_RULES if rule.first_day <= day <= rule.last_day), None)


def settlement_sessions(day: date) -> int:
    """Return the number of sessions until a sale of the day settles."""
    return [rule.sessions for rule in SETTLEMENTS if rule.first_day <= day][-1]
