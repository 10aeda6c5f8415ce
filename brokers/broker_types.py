"""The values that connectors and the engine exchange. A broker's own objects never leave its folder.

Quantities are always signed: positive is long or a buy, negative is short or a sell.
"""

from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, ClassVar, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from brokers.exchange_calendar import NEW_YORK

Instant = AwareDatetime
Money = Annotated[Decimal, Field(allow_inf_nan=False)]
Quantity = Annotated[Decimal, Field(allow_inf_nan=False)]


class BrokerValue(BaseModel):
    """Base class of the values: frozen, and rejects unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class OrderType(StrEnum):
    """How an order is priced."""

    MARKET = "MARKET"
    LIMIT = "LIMIT"


class TimeInForce(StrEnum):
    """How long an order stays open."""

    DAY = "DAY"
    GTC = "GTC"
    IOC = "IOC"


class OrderStatus(StrEnum):
    """Status of an order at the broker."""

    PENDING = "PENDING"  # submitted, not yet acknowledged by the broker
    WORKING = "WORKING"
    FILLED = "FILLED"
    CANCELLED = "CANCELLED"
    REJECTED = "REJECTED"
    EXPIRED = "EXPIRED"
    NOT_FOUND = "NOT_FOUND"
    ERROR = "ERROR"  # the broker reported an error about it and does not list it; this proves nothing yet
    UNKNOWN = "UNKNOWN"

    @property
    def is_terminal(self) -> bool:
        """Whether the order cannot change any more."""
        return self in {OrderStatus.FILLED, OrderStatus.CANCELLED, OrderStatus.REJECTED, OrderStatus.EXPIRED}


class PriceKind(StrEnum):
    """Timeliness of a quote."""

    LIVE = "live"
    DELAYED = "delayed"
    FROZEN = "frozen"


class SecurityKind(StrEnum):
    """Type of a security. Only `stock`, which includes ETFs, in USD is traded."""

    STOCK = "stock"
    OPTION = "option"
    FUTURE = "future"
    FUND = "fund"
    BOND = "bond"
    CASH = "cash"
    OTHER = "other"


class ContractPrice(BrokerValue):
    """Quote of one symbol at one instant, in USD per share; None where the broker sent no usable value.

    `volume` is the number of shares traded today. `is_halted` is True while trading in the symbol is halted. Both are
    None if the broker does not report them.
    """

    symbol: str
    bid: Money | None = None
    ask: Money | None = None
    last: Money | None = None
    close: Money | None = None
    as_of: Instant
    kind: PriceKind = PriceKind.LIVE
    tick_usd: Money = Decimal("0.01")
    volume: Quantity | None = None
    is_halted: bool | None = None
    message: str = ""  # the broker's reason for a missing side or a quote that is not live

    @property
    def is_two_sided(self) -> bool:
        """Whether 0 < bid <= ask, so that the quote can be traded on."""
        return self.bid is not None and self.ask is not None and 0 < self.bid <= self.ask

    @property
    def named(self) -> str:
        """The symbol, with the broker's reason if there is one."""
        return f"{self.symbol} ({self.message.rstrip('.')})" if self.message else self.symbol

    @property
    def is_refused(self) -> bool:
        """Whether there is no quote for the reason in `message`."""
        return bool(self.message) and all(value is None for value in (self.bid, self.ask, self.last, self.close))


class ExchangeDay(BrokerValue):
    """Trading hours of a contract on one day, as pairs of start and end; empty if the exchange is closed."""

    day: date
    hours: tuple[tuple[Instant, Instant], ...] = ()


class ContractFacts(BrokerValue):
    """Contract data of a US stock or ETF, which does not change within a day."""

    # Cached data can be from another version. A field that this version does not have is not needed.
    model_config = ConfigDict(frozen=True, extra="ignore")

    symbol: str
    contract_id: str
    primary_exchange: str = ""
    is_chosen: bool = False  # by a user, from several contracts
    tick_steps: tuple[tuple[Money, Money], ...] = ((Decimal(0), Decimal("0.01")),)  # lowest price, tick size
    liquid_hours: tuple[ExchangeDay, ...] = ()  # regular hours; other days are unknown

    def is_closed_at(self, instant: datetime) -> bool:
        """Whether the reported regular hours exclude the instant; False for a day without reported hours."""
        days = [one for one in self.liquid_hours if one.day == instant.astimezone(NEW_YORK).date()]
        return bool(days) and not any(
            opens_at <= instant < closes_at for one in days for opens_at, closes_at in one.hours
        )


class InstrumentName(BrokerValue):
    """Name and asset class of a symbol, for display only."""

    name: str
    kind: str = ""


class AccountPosition(BrokerValue):
    """A symbol and its signed quantity in an account.

    `market_price` is what one unit of `quantity` adds to the account's value, in USD, in any `currency`. The mark of an
    option contract includes its multiplier; that of a future is zero, because its profit and loss is part of cash.
    `exchange` is for display.
    """

    symbol: str
    quantity: Quantity
    market_price: Money | None = None
    average_cost: Money | None = None
    contract_id: str
    kind: SecurityKind = SecurityKind.STOCK
    currency: str = "USD"
    exchange: str = ""
    is_other_contract: bool = False  # an order for the symbol trades another contract, for example another listing

    @property
    def is_us_stock(self) -> bool:
        """Whether this is the US stock or ETF that an order for its symbol trades. Only then it matches a target."""
        return self.kind is SecurityKind.STOCK and self.currency == "USD" and not self.is_other_contract


class AccountNote(BrokerValue):
    """Something about the account data that a user should know, with the code of a run's warning."""

    code: str
    message: str


class AccountSnapshot(BrokerValue):
    """Net liquidation value, cash and positions of an account at one instant, in USD."""

    account_id: str
    total_value_usd: Money
    cash_usd: Money
    reported_cash_usd: Money | None = None
    settled_cash_usd: Money | None = None
    positions: tuple[AccountPosition, ...] = ()
    notes: tuple[AccountNote, ...] = ()
    as_of: Instant


class OrderResult(BrokerValue):
    """Current state of one order at the broker. `filled_quantity` has the sign of `quantity`."""

    account_id: str
    symbol: str
    quantity: Quantity
    filled_quantity: Quantity = Decimal(0)
    average_price: Money | None = None
    status: OrderStatus
    order_id: str = ""
    permanent_id: str = ""
    client_order_id: str = ""
    message: str = ""  # the broker's message

    @classmethod
    def not_found(cls, account_id: str, order_id: str) -> Self:
        """Return the result for an order that the broker does not know."""
        nothing, status = Decimal(0), OrderStatus.NOT_FOUND
        return cls(account_id=account_id, symbol="", quantity=nothing, status=status, order_id=order_id)


class OpenOrder(BrokerValue):
    """An order that is open at the broker, from this or any other client."""

    account_id: str
    symbol: str
    quantity: Quantity
    remaining_quantity: Quantity
    order_type: OrderType
    limit_price: Money | None = None
    order_id: str
    permanent_id: str = ""
    client_order_id: str = ""
    placed_in: str = ""  # the program that placed it, if only that program can cancel it


class Execution(BrokerValue):
    """One fill as reported by the broker; `execution_id` is unique at the broker.

    `price_usd` is in USD for a US stock or ETF; for anything else it is as reported.
    """

    execution_id: str
    account_id: str
    symbol: str
    kind: SecurityKind = SecurityKind.STOCK
    currency: str = "USD"
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
    """The broker's response to a what-if order."""

    accepted: bool
    message: str = ""
    margin_after_usd: Money | None = None


ACCOUNTS_PER_CONNECTION = 5
"""Default number of accounts per connection, at which accounts do not delay each other."""


class BrokerCapabilities(BrokerValue):
    """Features of a connector. A missing feature is refused with `CapabilityMissing`, never ignored."""

    order_types: frozenset[OrderType]
    times_in_force: frozenset[TimeInForce]
    what_if: bool = False
    accounts_per_connection: int = ACCOUNTS_PER_CONNECTION
    client_ids: int = 0
    """Number of client ids to which accounts are assigned by their account number, so that each installation uses the
    same id for an account and the broker rejects the second connection; 0: ids are assigned as they are needed."""
    empty_answer_seconds: float = 120
    """Time after connecting in which an empty list of orders or executions proves nothing, in seconds."""


class ConnectorSettings(BrokerValue):
    """Settings of one connector. A connector with settings of its own declares a subclass as its `Settings`.

    `prefix` is the common prefix of the installation's settings for this connector, such as `IB_`.
    """

    prefix: ClassVar[str] = ""

    @classmethod
    def load(cls, installation: object, policy: object) -> Self:
        """Return the settings in effect; a field without a source has its default.

        Args:
            installation: Django's settings, read by prefix and field name: `IB_HOST` for `host`.
            policy: policy of the account, whose fields of the same name take precedence.
        """
        values = {}
        for name in cls.model_fields:
            key = f"{cls.prefix}{name}".upper()
            if hasattr(policy, name):
                values[name] = getattr(policy, name)
            elif cls.prefix and hasattr(installation, key):
                values[name] = getattr(installation, key)
        return cls(**values)


class ConnectionSettings(BrokerValue):
    """Settings of one connection. What only one connector needs is in `connector`."""

    environment: str = Field(pattern="^(paper|live)$")
    client_id: int = Field(ge=1)
    account_ids: tuple[str, ...]
    connection_timeout_seconds: float = 10
    request_timeout_seconds: float = 10
    quote_timeout_seconds: float = 3
    contract_choices: Mapping[str, str] = Field(
        default={}, description="Contract ids by symbol, where a user has chosen between contracts of one symbol."
    )
    connector: ConnectorSettings = ConnectorSettings()
