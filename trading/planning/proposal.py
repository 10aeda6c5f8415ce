"""A plan with the data that it was made from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal

from brokers.broker_types import AccountSnapshot, ContractPrice, OpenOrder, OrderType, TimeInForce
from calculator import AllocationItem, Quote, Trade, TradeCalculationResult
from trading.journal.orders import PlannedOrder
from trading.models.run_documents import RunWarning
from trading.planning.account_state import held_shares


@dataclass(frozen=True)
class Proposal:
    """A plan with the data that it was made from. `prices` are the quotes as the broker reported them, by symbol."""

    result: TradeCalculationResult
    targets: tuple[AllocationItem, ...]
    targets_as_of: datetime | None
    snapshot: AccountSnapshot
    quotes: tuple[Quote, ...]
    warnings: tuple[RunWarning, ...]
    open_orders: tuple[OpenOrder, ...] = ()
    prices: Mapping[str, ContractPrice] = field(default_factory=dict)

    @property
    def quotes_by_symbol(self) -> Mapping[str, Quote]:
        """The quotes by symbol."""
        return {quote.symbol: quote for quote in self.quotes}

    def with_open_orders(self, open_orders: Sequence[OpenOrder]) -> "Proposal":
        """Return the proposal for an account that has these open orders."""
        if not open_orders:
            return self
        if elsewhere := placed_elsewhere(open_orders):
            message = f"{elsewhere} Until then, an execution is refused."
            warning = RunWarning(code="open_orders_elsewhere", message=message)
        else:
            warning = RunWarning(
                code="open_orders_cancelled",
                message=f"{len(open_orders)} open orders of the account are cancelled before the first order.",
            )
        return replace(self, open_orders=tuple(open_orders), warnings=(*self.warnings, warning))

    def with_warning(self, code: str, message: str) -> "Proposal":
        """Return the proposal with one more warning."""
        return replace(self, warnings=(*self.warnings, RunWarning(code=code, message=message)))

    def order_for(self, trade: Trade, time_in_force: TimeInForce) -> PlannedOrder:
        """Return the order that executes a trade of the plan."""
        quote = self.quotes_by_symbol[trade.symbol]
        return PlannedOrder(
            symbol=trade.symbol,
            quantity=Decimal(trade.quantity),
            order_type=OrderType(trade.order_type),
            limit_price_usd=trade.price,
            decision_price_usd=quote.bid if trade.quantity < 0 else quote.ask,
            time_in_force=time_in_force,
            reason=trade.reason,
            position_before=held_shares(self.snapshot.positions).get(trade.symbol, Decimal(0)),
        )


def placed_elsewhere(open_orders: Sequence[OpenOrder]) -> str:
    """Return which open orders a user must cancel elsewhere, as a sentence; empty if there are none."""
    orders = [f"{order.symbol} (in {order.placed_in})" for order in open_orders if order.placed_in]
    return f"Cancel these open orders where they were placed: {', '.join(orders)}." if orders else ""
