"""A plan and all that it was made from."""

from dataclasses import dataclass
from datetime import datetime

from brokers.values import AccountSnapshot, OpenOrder
from calculator import AllocationItem, Quote, TradeCalculationResult
from trading.values import RunWarning


@dataclass(frozen=True)
class Planned:
    """A plan and all that it was made from."""

    result: TradeCalculationResult
    targets: tuple[AllocationItem, ...]
    targets_as_of: datetime | None
    snapshot: AccountSnapshot
    quotes: tuple[Quote, ...]
    warnings: tuple[RunWarning, ...]
    open_orders: tuple[OpenOrder, ...]
