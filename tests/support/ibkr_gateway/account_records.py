"""The broker's records behind the gateway. They outlive every connection and every restart of the gateway."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

OPEN = ("ApiPending", "PendingSubmit", "PreSubmitted", "Submitted", "PendingCancel")
COMMISSION_USD = Decimal("1.00")
IN_CASH = ("FUT", "CFD", "CASH")


def new_york_time(at: datetime) -> str:
    """Return a time as most gateways send it."""
    return at.astimezone(ZoneInfo("America/New_York")).strftime("%Y%m%d %H:%M:%S US/Eastern")


@dataclass
class Instrument:
    """A contract and its quote. `own_mark` replaces the mid price as mark; the gateway omits a None volume or status."""

    con_id: int
    symbol: str
    bid: Decimal = Decimal("99.99")
    ask: Decimal = Decimal("100.01")
    sec_type: str = "STK"
    currency: str = "USD"
    primary_exchange: str = "ARCA"
    multiplier: str = ""
    expiry: str = ""
    strike: str = "0"
    right: str = ""
    min_tick: Decimal = Decimal("0.01")
    market_rule: int = 26
    own_mark: Decimal | None = None
    volume: int | None = None
    halted: int | None = None
    smart: bool = True  # smart routing reaches it
    time_zone: str = "US/Eastern"
    hours: str = "20261124:0400-20261124:2000;20261125:0400-20261125:2000"

    @property
    def mark(self) -> Decimal:
        return self.own_mark if self.own_mark is not None else (self.bid + self.ask) / 2

    @property
    def unit_value(self) -> Decimal:
        """What one unit adds to the account's value: nothing for futures and CFDs, whose gains are cash."""
        return Decimal(0) if self.sec_type in IN_CASH else self.mark * Decimal(self.multiplier or 1)

    @property
    def contract(self) -> tuple[str, ...]:
        """The fields that describe it in most messages, after the contract's id."""
        exchange = self.primary_exchange
        return (*self.head, exchange, self.currency, self.symbol, self.symbol)

    @property
    def head(self) -> tuple[str, ...]:
        return (self.symbol, self.sec_type, self.expiry, self.strike, self.right, self.multiplier)


@dataclass
class Fill:
    """One execution."""

    execution_id: str
    quantity: Decimal
    price: Decimal
    at: datetime
    cumulative: Decimal
    average: Decimal
    commission: Decimal | None = COMMISSION_USD


@dataclass
class GatewayOrder:
    """An order at the broker."""

    client_id: int
    order_id: int
    perm_id: int
    account_id: str
    instrument: Instrument
    action: str
    total: Decimal
    order_type: str
    limit: Decimal | None
    tif: str
    ref: str
    status: str = "PreSubmitted"
    fills: list[Fill] = field(default_factory=list)
    reason: str = ""
    quiet: bool = False  # its messages are not sent
    no_status: bool = False
    twice: bool = False
    fill_share: Decimal | None = None
    held: bool = False

    @property
    def filled(self) -> Decimal:
        return sum((fill.quantity for fill in self.fills), Decimal(0))

    @property
    def remaining(self) -> Decimal:
        return self.total - self.filled

    @property
    def average(self) -> Decimal:
        value = sum((fill.quantity * fill.price for fill in self.fills), Decimal(0))
        return value / self.filled if self.fills else Decimal(0)

    @property
    def is_open(self) -> bool:
        return self.status in OPEN

    @property
    def sign(self) -> int:
        return 1 if self.action == "BUY" else -1

    def fill_price(self) -> Decimal | None:
        """Return the current fill price; None while the limit is not reached."""
        price = self.instrument.ask if self.action == "BUY" else self.instrument.bid
        if self.order_type == "MKT" or self.limit is None or (price - self.limit) * self.sign <= 0:
            return price
        return None


@dataclass
class GatewayAccount:
    """Cash and positions of an account, and the lowest cash that it had."""

    account_id: str
    cash: Decimal
    positions: dict[int, Decimal] = field(default_factory=dict)
    average_costs: dict[int, Decimal] = field(default_factory=dict)
    lowest_cash: Decimal = Decimal("Infinity")
    base_currency: str = "USD"
    reported: dict[str, Decimal] | None = None  # values that lag behind; None while they are current
    rows: dict[tuple[str, str], str] = field(default_factory=dict)  # value rows by tag and currency, sent instead
    without_row: set[int] = field(default_factory=set)  # contract ids of positions without a portfolio row
    what_if: tuple[str, str, str] | None = None  # margin change, margin after and equity of every what-if order
    quiet_positions: bool = False  # changes of positions are not sent

    def __post_init__(self) -> None:
        self.lowest_cash = self.cash


class AccountRecords:
    """Accounts, instruments, orders and executions."""

    def __init__(self) -> None:
        self.instruments: dict[int, Instrument] = {}
        self.accounts: dict[str, GatewayAccount] = {}
        self.orders: list[GatewayOrder] = []
        self.went_short: list[str] = []
        self.time_form: Callable[[datetime], str] = new_york_time
        self._next_perm_id = 1_900_000_001
        self._next_execution = 1

    def add_instrument(self, symbol: str, bid: str = "99.99", ask: str = "100.01", **fields: Any) -> Instrument:
        con_id = fields.pop("con_id", 700_000 + len(self.instruments))
        instrument = Instrument(con_id, symbol, Decimal(bid), Decimal(ask), **fields)
        self.instruments[con_id] = instrument
        return instrument

    def add_account(
        self, account_id: str, cash: str = "100000", positions: Mapping[str, Any] | None = None, **fields: Any
    ) -> GatewayAccount:
        account = GatewayAccount(account_id, Decimal(cash), **fields)
        for symbol, shares in (positions or {}).items():
            instrument = self.stock(symbol)
            account.positions[instrument.con_id] = Decimal(shares)
            account.average_costs[instrument.con_id] = instrument.mark
        self.accounts[account_id] = account
        return account

    def find_stock(self, symbol: str) -> Instrument | None:
        """Return the US stock of that symbol, if there is one."""
        return next(
            (
                one
                for one in self.instruments.values()
                if (one.symbol, one.sec_type, one.currency) == (symbol, "STK", "USD")
            ),
            None,
        )

    def stock(self, symbol: str) -> Instrument:
        """Return the US stock of that symbol."""
        found = self.find_stock(symbol)
        assert found is not None, symbol
        return found

    def orders_with(self, ref: str) -> list[GatewayOrder]:
        return [order for order in self.orders if order.ref == ref]

    def shares(self, account_id: str, symbol: str) -> Decimal:
        return self.accounts[account_id].positions.get(self.stock(symbol).con_id, Decimal(0))

    def values(self, account_id: str) -> dict[str, Decimal]:
        """Return the current NetLiquidation, CashBalance and SettledCash, in the base currency."""
        account = self.accounts[account_id]
        value = account.cash
        for con_id, quantity in account.positions.items():
            instrument = self.instruments[con_id]
            if instrument.currency == account.base_currency:
                value += quantity * instrument.unit_value
        return {"NetLiquidation": value, "CashBalance": account.cash, "SettledCash": account.cash}

    def reported_values(self, account_id: str) -> dict[str, Decimal]:
        return self.accounts[account_id].reported or self.values(account_id)

    def accept(self, order: GatewayOrder) -> GatewayOrder:
        """Store an order under a new permanent id."""
        order.perm_id = self._next_perm_id
        self._next_perm_id += 1
        self.orders.append(order)
        return order

    def fill(self, order: GatewayOrder, quantity: Decimal, price: Decimal) -> Fill:
        """Fill a part of the order. Cash can become negative, as in a margin account."""
        account = self.accounts[order.account_id]
        con_id = order.instrument.con_id
        filled = order.filled + quantity
        value = order.average * order.filled + quantity * price
        fill = Fill(
            f"0000e0d5.{self._next_execution:08x}.01.01", quantity, price, datetime.now(UTC), filled, value / filled
        )
        self._next_execution += 1
        order.fills.append(fill)
        account.cash -= order.sign * quantity * price + COMMISSION_USD
        account.positions[con_id] = account.positions.get(con_id, Decimal(0)) + order.sign * quantity
        account.lowest_cash = min(account.lowest_cash, account.cash)
        if account.positions[con_id] < 0:
            self.went_short.append(f"{account.account_id} {order.instrument.symbol}")
        if order.remaining == 0:
            order.status = "Filled"
        return fill
