"""The books of the broker behind the gateway: they outlive every connection and every restart of the gateway."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal

LIVE = ("ApiPending", "PendingSubmit", "PreSubmitted", "Submitted", "PendingCancel")
COMMISSION_USD = Decimal("1.00")


@dataclass
class Instrument:
    """A contract with its quote; a mark of None is the middle."""

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
    time_zone: str = "US/Eastern"
    hours: str = "20261124:0400-20261124:2000;20261125:0400-20261125:2000"

    @property
    def mark(self):
        return self.own_mark if self.own_mark is not None else (self.bid + self.ask) / 2

    @property
    def contract(self):
        """The eleven fields that describe it in most answers, after the contract's id."""
        exchange = self.primary_exchange
        return (*self.head, exchange, self.currency, self.symbol, self.symbol)

    @property
    def head(self):
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
    commission: Decimal = COMMISSION_USD


@dataclass
class BookedOrder:
    """An order as the broker has it."""

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
    quiet: bool = False  # no word of it comes by itself
    no_status: bool = False
    twice: bool = False
    fill_share: Decimal | None = None
    held: bool = False

    @property
    def filled(self):
        return sum((fill.quantity for fill in self.fills), Decimal(0))

    @property
    def remaining(self):
        return self.total - self.filled

    @property
    def average(self):
        value = sum((fill.quantity * fill.price for fill in self.fills), Decimal(0))
        return value / self.filled if self.fills else Decimal(0)

    @property
    def is_live(self):
        return self.status in LIVE

    @property
    def sign(self):
        return 1 if self.action == "BUY" else -1

    def fill_price(self):
        """What it is filled at now; None while its limit is out of reach."""
        price = self.instrument.ask if self.action == "BUY" else self.instrument.bid
        if self.order_type == "MKT" or (price - self.limit) * self.sign <= 0:
            return price
        return None


@dataclass
class BookedAccount:
    """Cash and positions, and the worst that they have been."""

    account_id: str
    cash: Decimal
    positions: dict[int, Decimal] = field(default_factory=dict)
    average_costs: dict[int, Decimal] = field(default_factory=dict)
    lowest_cash: Decimal = Decimal("Infinity")
    base_currency: str = "USD"
    reported: dict[str, Decimal] | None = None  # values that lag behind; None while they are current

    def __post_init__(self):
        self.lowest_cash = self.cash


class Book:
    """Accounts, instruments, orders and executions."""

    def __init__(self):
        self.instruments: dict[int, Instrument] = {}
        self.accounts: dict[str, BookedAccount] = {}
        self.orders: list[BookedOrder] = []
        self.went_short: list[str] = []
        self._next_perm_id = 1_900_000_001
        self._next_execution = 1

    def add_instrument(self, symbol, bid="99.99", ask="100.01", **fields):
        con_id = fields.pop("con_id", 700_000 + len(self.instruments))
        instrument = Instrument(con_id, symbol, Decimal(bid), Decimal(ask), **fields)
        self.instruments[con_id] = instrument
        return instrument

    def add_account(self, account_id, cash="100000", positions=(), **fields):
        account = BookedAccount(account_id, Decimal(cash), **fields)
        for symbol, shares in dict(positions).items():
            instrument = self.stock(symbol)
            account.positions[instrument.con_id] = Decimal(shares)
            account.average_costs[instrument.con_id] = instrument.mark
        self.accounts[account_id] = account
        return account

    def stock(self, symbol):
        """The US stock of that symbol."""
        return next(
            (
                one
                for one in self.instruments.values()
                if (one.symbol, one.sec_type, one.currency) == (symbol, "STK", "USD")
            ),
            None,
        )

    def orders_with(self, ref):
        return [order for order in self.orders if order.ref == ref]

    def shares(self, account_id, symbol):
        return self.accounts[account_id].positions.get(self.stock(symbol).con_id, Decimal(0))

    def values(self, account_id):
        """NetLiquidation, CashBalance and SettledCash, in the base currency, as they are now."""
        account = self.accounts[account_id]
        value = account.cash
        for con_id, quantity in account.positions.items():
            instrument = self.instruments[con_id]
            if instrument.currency == account.base_currency:
                value += quantity * instrument.mark * Decimal(instrument.multiplier or 1)
        return {"NetLiquidation": value, "CashBalance": account.cash, "SettledCash": account.cash}

    def reported_values(self, account_id):
        return self.accounts[account_id].reported or self.values(account_id)

    def take(self, order):
        order.perm_id = self._next_perm_id
        self._next_perm_id += 1
        self.orders.append(order)
        return order

    def fill(self, order, quantity, price):
        """Fills so much of the order; cash may go below zero, as it does in a margin account."""
        account = self.accounts[order.account_id]
        con_id = order.instrument.con_id
        filled = order.filled + quantity
        value = order.average * order.filled + quantity * price
        fill = Fill(
            f"0000e0d5.{self._next_execution:08x}.01.01", quantity, price, datetime.now(UTC), filled, value / filled
        )
        self._next_execution += 1
        order.fills.append(fill)
        account.cash -= order.sign * quantity * price + fill.commission
        account.positions[con_id] = account.positions.get(con_id, Decimal(0)) + order.sign * quantity
        account.lowest_cash = min(account.lowest_cash, account.cash)
        if account.positions[con_id] < 0:
            self.went_short.append(f"{account.account_id} {order.instrument.symbol}")
        if order.remaining == 0:
            order.status = "Filled"
        return fill
