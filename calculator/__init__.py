"""The calculator: pure functions from account, targets and quotes to a plan. No broker, clock, settings or log."""

from calculator.errors import CalculationRefused
from calculator.plan import TradeCalculator
from calculator.plan_types import (
    AccountConfig,
    AccountState,
    AllocationItem,
    CalculationWarning,
    Commission,
    Mode,
    NotTraded,
    Plan,
    PlanLine,
    Position,
    Projection,
    Quote,
    SymbolRule,
    Trade,
    TradeCalculationResult,
)
from calculator.replacements import ReplacementLimits, ReplacementResult, ReplacementRule, apply_replacements

__all__ = [
    "AccountConfig",
    "AccountState",
    "AllocationItem",
    "CalculationRefused",
    "CalculationWarning",
    "Commission",
    "Mode",
    "NotTraded",
    "Plan",
    "PlanLine",
    "Position",
    "Projection",
    "Quote",
    "ReplacementLimits",
    "ReplacementResult",
    "ReplacementRule",
    "SymbolRule",
    "Trade",
    "TradeCalculationResult",
    "TradeCalculator",
    "apply_replacements",
]
