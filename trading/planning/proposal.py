"""A plan and all that it was made from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from brokers.broker_types import AccountSnapshot, ContractPrice, OpenOrder
from calculator import AllocationItem, Quote, TradeCalculationResult
from trading.models.run_documents import RunWarning


@dataclass(frozen=True)
class Proposal:
    """A plan and all that it was made from. `prices` are the quotes as the broker reported them, by symbol."""

    result: TradeCalculationResult
    targets: tuple[AllocationItem, ...]
    targets_as_of: datetime | None
    snapshot: AccountSnapshot
    quotes: tuple[Quote, ...]
    warnings: tuple[RunWarning, ...]
    open_orders: tuple[OpenOrder, ...] = ()
    prices: Mapping[str, ContractPrice] = field(default_factory=dict)

    def beside(self, open_orders: Sequence[OpenOrder]) -> "Proposal":
        """The plan of an account that has these open orders."""
        if not open_orders:
            return self
        warning = RunWarning(
            code="open_orders_cancelled",
            message=f"{len(open_orders)} open orders of the account are cancelled before the first order.",
        )
        return replace(self, open_orders=tuple(open_orders), warnings=(*self.warnings, warning))
