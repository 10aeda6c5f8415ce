"""A plan and all that it was made from."""

from dataclasses import dataclass

from brokers.values import AccountSnapshot, OpenOrder
from calculator import AllocationItem, Quote, TradeCalculationResult
from trading.values import RunWarning


@dataclass(frozen=True)
class Planned:
    """A plan and all that it was made from."""

    result: TradeCalculationResult
    targets: tuple[AllocationItem, ...]
    snapshot: AccountSnapshot
    quotes: tuple[Quote, ...]
    warnings: tuple[RunWarning, ...]
    open_orders: tuple[OpenOrder, ...]
