"""The calculator: values in, a plan out. It knows no broker, no clock, no settings, and writes no log."""

from calculator.errors import CalculationRefused
from calculator.plan import TradeCalculator
from calculator.plan_types import (
    AccountConfig,
    AccountState,
    AllocationItem,
    CalculationWarning,
    Commission,
    NotTraded,
    Plan,
    PlanLine,
    Position,
    Projection,
    Quote,
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
    "NotTraded",
    "Plan",
    "PlanLine",
    "Position",
    "Projection",
    "Quote",
    "ReplacementLimits",
    "ReplacementResult",
    "ReplacementRule",
    "Trade",
    "TradeCalculationResult",
    "TradeCalculator",
    "apply_replacements",
]
