"""The standard values that every connector speaks. A broker's own objects never leave its folder.

Quantities are signed everywhere: positive is long or a buy, negative is short or a sell.
"""

from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from brokers.exchange_calendar import NEW_YORK


def _zone_aware(value: datetime) -> datetime:
    if value.tzinfo is None:
        message = "a time needs its zone"
        raise ValueError(message)
    return value


Instant = Annotated[datetime, AfterValidator(_zone_aware)]
Money = Annotated[Decimal, Field(allow_inf_nan=False)]
Quantity = Annotated[Decimal, Field(allow_inf_nan=False)]


class BrokerValue(BaseModel):
    """Frozen, and refuses what it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class OrderType(StrEnum):
    """How an order is priced."""

    MARKET = "MARKET"
    LIMIT = "LIMIT"


class TimeInForce(StrEnum):
    """How long an order lives."""

    DAY = "DAY"
    GTC = "GTC"
    IOC = "IOC"


class OrderStatus(StrEnum):
    """What the broker knows of an order."""

    PENDING = "PENDING"  # accepted by our side of the link, not yet acknowledged by the broker
    WORKING = "WORKING"
    FILLED = "FILLED"
    CANCELLED = "CANCELLED"
    REJECTED = "REJECTED"
    EXPIRED = "EXPIRED"
    NOT_FOUND = "NOT_FOUND"
    ERROR = "ERROR"
    UNKNOWN = "UNKNOWN"

    @property
    def is_terminal(self) -> bool:
        """Whether nothing more can happen to the order."""
        return self in {OrderStatus.FILLED, OrderStatus.CANCELLED, OrderStatus.REJECTED, OrderStatus.EXPIRED}


class PriceKind(StrEnum):
    """Where a quote comes from."""

    LIVE = "live"
    DELAYED = "delayed"
    FROZEN = "frozen"


class SecurityKind(StrEnum):
    """What a position is; only `stock` (which covers ETFs) in USD is ever traded."""

    STOCK = "stock"
    OPTION = "option"
    FUTURE = "future"
    FUND = "fund"
    BOND = "bond"
    CASH = "cash"
    OTHER = "other"


class ContractPrice(BrokerValue):
    """The quote of one symbol at one instant, in USD a share; None where the broker sent nothing usable."""

    symbol: str
    bid: Money | None = None
    ask: Money | None = None
    last: Money | None = None
    close: Money | None = None
    as_of: Instant
    kind: PriceKind = PriceKind.LIVE
    tick_usd: Money = Decimal("0.01")
    message: str = ""  # why a side is missing or the quote is not live, in the broker's words

    @property
    def is_two_sided(self) -> bool:
        """Whether it can be traded on: 0 < bid <= ask."""
        return self.bid is not None and self.ask is not None and 0 < self.bid <= self.ask


class ExchangeDay(BrokerValue):
    """When a contract is traded on one day of its exchange, from and until; never, when the exchange is closed."""

    day: date
    hours: tuple[tuple[Instant, Instant], ...] = ()


class ContractFacts(BrokerValue):
    """What a broker knows of a US stock or ETF, and does not change within a day."""

    symbol: str
    contract_id: str
    primary_exchange: str = ""
    tick_steps: tuple[tuple[Money, Money], ...] = ((Decimal(0), Decimal("0.01")),)  # from which price on which tick
    trading_hours: tuple[ExchangeDay, ...] = ()  # those before and after the session included
    liquid_hours: tuple[ExchangeDay, ...] = ()  # the regular ones; days that are not told of are not known

    def is_closed_at(self, instant: datetime) -> bool:
        """Whether the broker says that the exchange does not trade it now; not where it says nothing of the day."""
        days = [one for one in self.liquid_hours if one.day == instant.astimezone(NEW_YORK).date()]
        return bool(days) and not any(
            opens_at <= instant < closes_at for one in days for opens_at, closes_at in one.hours
        )


class InstrumentName(BrokerValue):
    """What people call a symbol, and what kind of thing it is; for pages, never for decisions."""

    name: str
    kind: str = ""


class AccountPosition(BrokerValue):
    """A symbol and its signed quantity in an account.

    `market_price` is the broker's own mark in USD for one unit of `quantity`, whatever the `currency`: a contract of
    options counts with its multiplier.
    """

    symbol: str
    quantity: Quantity
    market_price: Money | None = None
    average_cost: Money | None = None
    contract_id: str
    kind: SecurityKind = SecurityKind.STOCK
    currency: str = "USD"

    @property
    def is_us_stock(self) -> bool:
        """Whether it may be matched with a target by its symbol."""
        return self.kind is SecurityKind.STOCK and self.currency == "USD"


class AccountSnapshot(BrokerValue):
    """An account at one instant: net liquidation value, cash and positions, in USD."""

    account_id: str
    total_value_usd: Money
    cash_usd: Money
    settled_cash_usd: Money | None = None
    positions: tuple[AccountPosition, ...] = ()
    as_of: Instant


class OrderResult(BrokerValue):
    """What the broker says of one order, now. `filled_quantity` carries the sign of `quantity`."""

    account_id: str
    symbol: str
    quantity: Quantity
    filled_quantity: Quantity = Decimal(0)
    average_price: Money | None = None
    status: OrderStatus
    order_id: str = ""
    permanent_id: str = ""
    client_order_id: str = ""
    message: str = ""  # the broker's own words


class OpenOrder(BrokerValue):
    """An order that is still live at the broker, ours or anybody's."""

    account_id: str
    symbol: str
    quantity: Quantity
    remaining_quantity: Quantity
    order_type: OrderType
    limit_price: Money | None = None
    order_id: str
    permanent_id: str = ""
    client_order_id: str = ""


class Execution(BrokerValue):
    """One fill as the broker reports it; `execution_id` is unique at the broker."""

    execution_id: str
    account_id: str
    symbol: str
    quantity: Quantity
    price_usd: Money
    commission_usd: Money | None = None
    executed_at: Instant
    order_id: str = ""
    permanent_id: str = ""
    client_order_id: str = ""


OrderUpdate = OrderResult | Execution
"""One message of an order update stream: a new order status, or a fill."""


class Feasibility(BrokerValue):
    """The broker's answer to "would you take this order?" (a what-if order)."""

    accepted: bool
    message: str = ""
    margin_after_usd: Money | None = None


ACCOUNTS_PER_CONNECTION = 5
"""What a link serves without one account holding up another, where a connector says nothing else."""


class BrokerCapabilities(BrokerValue):
    """What a connector can do. What is not in the table is refused by name, never dropped."""

    order_types: frozenset[OrderType]
    times_in_force: frozenset[TimeInForce]
    what_if: bool = False
    settled_cash: bool = False
    order_updates: bool = True
    messages_per_second: int | None = None
    accounts_per_connection: int = ACCOUNTS_PER_CONNECTION


class ConnectionSettings(BrokerValue):
    """All that a connector needs to connect; secrets come from its own settings."""

    environment: str = Field(pattern="^(paper|live)$")
    client_id: int = Field(ge=1)
    account_ids: tuple[str, ...]
    host: str = "127.0.0.1"
    port: int = 0
    connection_timeout_seconds: float = 10
    request_timeout_seconds: float = 10
    quote_timeout_seconds: float = 3
    allow_delayed_quotes: bool = False
    market_data_type: int = Field(default=1, ge=1, le=4)
