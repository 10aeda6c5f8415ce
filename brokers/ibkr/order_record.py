"""One order and everything that the broker reported about it over this connection."""

import asyncio
from dataclasses import dataclass, field
from decimal import Decimal

from brokers.broker_types import Execution, OpenOrder, OrderResult, OrderStatus, OrderType
from brokers.ibkr import mapping


@dataclass
class OrderRecord:
    """An order of any API client. `total` is zero if the broker does not report it, as for completed orders."""

    account_id: str
    symbol: str
    side: str
    client_order_id: str
    client_id: int = 0
    order_id: int = 0
    permanent_id: int = 0
    total: Decimal = Decimal(0)
    order_type: str = ""
    limit: Decimal | None = None
    ib_status: str = ""  # last status received
    status_filled: Decimal = Decimal(0)
    status_average_price: Decimal | None = None
    rejected: bool = False
    has_unexplained_error: bool = False  # an error from which the status of the order does not follow
    order_id_was_used: bool = False  # the order was not accepted under its order id
    ended: bool = False
    messages: list[str] = field(default_factory=list)
    cancel_refusal: str = ""
    ack_timed_out: bool = False
    executions: dict[str, Execution] = field(default_factory=dict)
    revisions: dict[str, int] = field(default_factory=dict)  # correction number of each execution
    updated: asyncio.Event = field(default_factory=asyncio.Event)
    published: OrderResult | None = None

    @property
    def executed(self) -> Decimal:
        """Shares in executions, unsigned."""
        return sum((abs(execution.quantity) for execution in self.executions.values()), Decimal(0))

    @property
    def filled(self) -> Decimal:
        """Shares filled, unsigned. Statuses and executions can each arrive first."""
        return max(self.status_filled, self.executed)

    @property
    def average_price(self) -> Decimal | None:
        """Average price in USD per share; exact if every filled share has an execution."""
        executed = self.executed
        if executed and executed >= self.status_filled:
            value = sum((abs(one.quantity) * one.price_usd for one in self.executions.values()), Decimal(0))
            return value / executed
        return self.status_average_price

    @property
    def status(self) -> OrderStatus:
        """Status of the order, from everything received."""
        return mapping.order_status(
            self.ib_status, total=self.total, filled=self.filled, rejected=self.rejected, ended=self.ended
        )

    @property
    def is_acknowledged(self) -> bool:
        """Whether the broker accepted or rejected the order. Inactive without a reason is neither yet."""
        if self.ib_status == "Inactive" and not self.messages and not self.filled:
            return False
        return self.status not in {OrderStatus.PENDING, OrderStatus.UNKNOWN}

    @property
    def is_doubtful(self) -> bool:
        """Whether the broker reported an error only, and only a lookup shows whether the order exists."""
        is_open = self.ib_status in mapping.OPEN_STATUSES
        return self.has_unexplained_error and not (is_open or self.filled or self.status.is_terminal)

    @property
    def is_answered(self) -> bool:
        """Whether the wait for the broker's first response is over."""
        return self.is_acknowledged or self.is_doubtful or self.order_id_was_used

    @property
    def is_being_cancelled(self) -> bool:
        """Whether the broker accepted a cancel, or nothing is left to cancel."""
        return self.ib_status == "PendingCancel" or self.status.is_terminal

    @property
    def is_proven(self) -> bool:
        """Whether the broker has the order, or rejected it. An order that was only submitted may not exist."""
        return bool(self.permanent_id or self.filled or self.status.is_terminal)

    @property
    def lacks_commission(self) -> bool:
        """Whether the commission of an execution has not arrived yet."""
        return any(execution.commission_usd is None for execution in self.executions.values())

    @property
    def placed_in(self) -> str:
        """The program that placed the order, for messages. A manual order has the client id 0."""
        return f"API client {self.client_id}" if self.client_id else "TWS or the broker's app"

    def result(self) -> OrderResult:
        """Return the order's state. Its order id is the permanent id, because the gateway reuses order ids."""
        permanent_id = str(self.permanent_id) if self.permanent_id else ""
        return OrderResult(
            account_id=self.account_id,
            symbol=self.symbol,
            quantity=mapping.signed(self.side, self.total or self.filled),
            filled_quantity=mapping.signed(self.side, self.filled),
            average_price=self.average_price,
            status=self.status,
            order_id=permanent_id,
            permanent_id=permanent_id,
            client_order_id=self.client_order_id,
            message=" ".join(self.messages),
        )

    def open_order(self, own_client_id: int) -> OpenOrder:
        """Return the order as an open order."""
        result = self.result()
        is_own = self.client_id == own_client_id and self.order_id > 0
        return OpenOrder(
            account_id=self.account_id,
            symbol=self.symbol,
            quantity=result.quantity,
            remaining_quantity=result.quantity - result.filled_quantity,
            # Every type other than a market order counts as a limit order.
            order_type=OrderType.MARKET if self.order_type == "MKT" else OrderType.LIMIT,
            limit_price=self.limit,
            order_id=result.order_id,
            permanent_id=result.permanent_id,
            client_order_id=self.client_order_id,
            placed_in="" if is_own else self.placed_in,
        )
