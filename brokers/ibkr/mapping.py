"""Conversion between the types of ib_async and of the broker layer. Pure functions; floats exist only here."""

from collections.abc import Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal, InvalidOperation
from enum import Enum, auto

from ib_async import Contract, ContractDetails, Order, OrderState, PortfolioItem, PriceIncrement, Stock

from brokers.broker_types import Feasibility, OrderStatus, OrderType, PriceKind, SecurityKind, TimeInForce
from calculator.formats import money


class Valuation(Enum):
    """What a position adds to the net liquidation value, beside cash."""

    PRICE = auto()
    """Its price times its quantity."""
    MARKET_VALUE = auto()
    """Its market value, which includes a multiplier, or a price in percent."""
    IN_CASH = auto()
    """Nothing: its profit and loss, or its amount, is part of the account's cash."""


SECURITY_TYPES = {
    "STK": (SecurityKind.STOCK, Valuation.PRICE),
    "OPT": (SecurityKind.OPTION, Valuation.MARKET_VALUE),
    "FOP": (SecurityKind.OPTION, Valuation.MARKET_VALUE),
    "WAR": (SecurityKind.OPTION, Valuation.MARKET_VALUE),
    "IOPT": (SecurityKind.OPTION, Valuation.MARKET_VALUE),
    "FUND": (SecurityKind.FUND, Valuation.MARKET_VALUE),
    "BOND": (SecurityKind.BOND, Valuation.MARKET_VALUE),
    "BILL": (SecurityKind.BOND, Valuation.MARKET_VALUE),
    "CRYPTO": (SecurityKind.OTHER, Valuation.MARKET_VALUE),
    "CMDTY": (SecurityKind.OTHER, Valuation.MARKET_VALUE),
    "FUT": (SecurityKind.FUTURE, Valuation.IN_CASH),
    "CFD": (SecurityKind.OTHER, Valuation.IN_CASH),
    "CASH": (SecurityKind.CASH, Valuation.IN_CASH),  # a currency pair, whose amounts are cash balances
}
"""Kind and valuation by the broker's security type. Source: the secType of the TWS API's Contract."""

UNKNOWN_TYPE = (SecurityKind.OTHER, Valuation.MARKET_VALUE)
LARGEST = Decimal("1e300")
"""Numbers from this size on mean "unset": the broker sends the largest double, as a number or as text."""

PRICE_KINDS = {1: PriceKind.LIVE, 2: PriceKind.FROZEN}
"""Kinds of quotes by market data type. Delayed frozen quotes (4) count as delayed (3), and so does an unknown type."""

ORDER_TYPES = {OrderType.MARKET: "MKT", OrderType.LIMIT: "LMT"}

PENDING_STATUSES = frozenset({"", "PendingSubmit", "ApiPending"})
OPEN_STATUSES = frozenset({"PreSubmitted", "Submitted", "PendingCancel"})
CANCELLED_STATUSES = frozenset({"Cancelled", "ApiCancelled"})

QUOTE_FOLLOWS = frozenset({10167, 10090})
"""Codes of warnings after which a quote still arrives, delayed or in part."""

TickSteps = Sequence[tuple[Decimal, Decimal]]
"""Pairs of lowest price and tick size, sorted by price."""


def exact(value: float | Decimal | str | None) -> Decimal | None:
    """Return the number exactly as received; None if it is unset, no number or infinite."""
    if value is None or value == "":
        return None
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return None
    return number if number.is_finite() and abs(number) < LARGEST else None


def amount(value: float | Decimal | str | None) -> Decimal:
    """Return the number, or zero if it is unset. Whole numbers have no fraction digits."""
    number = exact(value) or Decimal(0)
    whole = number.to_integral_value()
    return whole if whole == number else number


def price(value: float | Decimal | str | None) -> Decimal | None:
    """Return a finite price above zero, else None. The broker sends -1 for an empty side."""
    number = exact(value)
    return number if number is not None and number > 0 else None


def signed(side: str, quantity: float | Decimal) -> Decimal:
    """Return the quantity, negative for a sell. Sides are BUY and SELL in orders, BOT and SLD in executions."""
    number = amount(quantity)
    return number if side in {"BUY", "BOT"} else -number


def our_symbol(contract: Contract) -> str:
    """Return the symbol of a contract: BRK.B for the broker's BRK B; the local symbol if it is not a stock.

    A stock in another currency has a symbol that no target can have, so that it is never taken for the US stock.
    """
    if contract.secType == "STK":
        symbol = contract.symbol.replace(" ", ".")
        return symbol if contract.currency in {"USD", ""} else f"{symbol} {contract.currency}"
    return contract.localSymbol or contract.symbol


def smart_stock(symbol: str, con_id: int = 0, primary_exchange: str = "") -> Contract:
    """Return the contract of a US stock or ETF with smart routing, in the broker's spelling: BRK B for BRK.B."""
    return Stock(symbol.replace(".", " "), "SMART", "USD", conId=con_id, primaryExchange=primary_exchange)


def is_us_stock(contract: Contract) -> bool:
    """Return whether the contract is a US stock or ETF, which can be matched with a target."""
    return contract.secType == "STK" and contract.currency == "USD"


def smart_rule(details: ContractDetails) -> int | None:
    """Return the market rule for smart routing; the rules are listed in the order of the exchanges."""
    rules = dict(zip(details.validExchanges.split(","), details.marketRuleIds.split(","), strict=False))
    rule = rules.get("SMART", "")
    return int(rule) if rule.isdigit() else None


def tick_steps(increments: Sequence[PriceIncrement], min_tick: float) -> tuple[tuple[Decimal, Decimal], ...]:
    """Return the tick sizes of a contract by lowest price; its minimum tick only if there is no market rule."""
    steps = [(amount(step.lowEdge), exact(step.increment) or Decimal(0)) for step in increments]
    good = sorted((low, tick) for low, tick in steps if tick > 0)
    return tuple(good) or ((Decimal(0), price(min_tick) or Decimal("0.01")),)


def tick_at(steps: TickSteps, at_price: Decimal) -> Decimal:
    """Return the tick size at a price."""
    return next((tick for lowest, tick in reversed(steps) if at_price >= lowest), steps[0][1])


def round_to_tick(limit: Decimal, quantity: Decimal, steps: TickSteps) -> Decimal:
    """Round a limit to the tick size: down for a buy, up for a sell, so that it is never worse than requested."""
    tick = tick_at(steps, limit)
    return (limit / tick).to_integral_value(ROUND_FLOOR if quantity > 0 else ROUND_CEILING) * tick


def order_to_send(
    account_id: str,
    quantity: Decimal,
    order_type: OrderType,
    limit: Decimal | None,
    time_in_force: TimeInForce,
    client_order_id: str,
) -> Order:
    """Return the order for ib_async; account, time in force and reference are always set."""
    order = Order(
        action="BUY" if quantity > 0 else "SELL",
        orderType=ORDER_TYPES[order_type],
        tif=time_in_force.value,
        account=account_id,
        orderRef=client_order_id,
    )
    order.totalQuantity = abs(quantity)  # type: ignore[assignment]  # sent exactly, which a float would not be
    if limit is not None:
        order.lmtPrice = limit
    return order


def order_status(ib_status: str, *, total: Decimal, filled: Decimal, rejected: bool, ended: bool) -> OrderStatus:
    """Return the status of an order. Fills decide first, then proof of its end, then the last status received.

    Args:
        ib_status: Last status received; empty before the first.
        total: Shares ordered; zero if the broker no longer reports them.
        filled: Shares filled, by statuses or executions, whichever is more.
        rejected: Whether an error proved that the order does not exist.
        ended: Whether the broker proved that the remaining quantity is cancelled.
    """
    if ib_status == "Filled" or (total > 0 and filled >= total):
        return OrderStatus.FILLED
    if rejected:
        return OrderStatus.CANCELLED if filled else OrderStatus.REJECTED
    if ended or ib_status in CANCELLED_STATUSES:
        return OrderStatus.CANCELLED
    # Inactive alone proves nothing: a held order is inactive too, and can become active again.
    if ib_status in OPEN_STATUSES or ib_status == "Inactive" or filled:
        return OrderStatus.WORKING
    return OrderStatus.PENDING if ib_status in PENDING_STATUSES else OrderStatus.UNKNOWN


def feasibility(state: OrderState, *, reduces: bool) -> Feasibility:
    """Return the result of a what-if order that the broker answered without an error.

    An order that only reduces a position is accepted. Any other is, if the margin after it does not exceed the equity,
    or the broker did not report both.
    """
    margin, equity = exact(state.initMarginAfter), exact(state.equityWithLoanAfter)
    message = (state.warningText or "").strip()
    if not reduces and margin is not None and equity is not None and margin > equity:
        return Feasibility(
            accepted=False,
            margin_after_usd=margin,
            message=message or f"The margin would be {money(margin)}, and the equity {money(equity)}.",
        )
    return Feasibility(accepted=True, margin_after_usd=margin, message=message)


def security_kind(contract: Contract) -> SecurityKind:
    """Return the kind of a contract's security."""
    return SECURITY_TYPES.get(contract.secType, UNKNOWN_TYPE)[0]


def unit_mark(contract: Contract, item: PortfolioItem | None, rate: Decimal | None) -> Decimal | None:
    """Return what one unit of a position adds to the account's value, in USD.

    None without a portfolio row or an exchange rate, unless the position adds nothing whatever they are.
    """
    valuation = SECURITY_TYPES.get(contract.secType, UNKNOWN_TYPE)[1]
    if valuation is Valuation.IN_CASH:
        return Decimal(0)
    if item is None or rate is None:
        return None
    if valuation is Valuation.PRICE:
        mark = price(item.marketPrice)
        return mark * rate if mark is not None else None
    value, units = exact(item.marketValue), exact(item.position)
    return value / units * rate if value is not None and units else None


def execution_key_and_revision(execution_id: str) -> tuple[str, int]:
    """Return the part of an execution id that a correction does not change, and the correction number; 0 if none."""
    key, _, number = execution_id.rpartition(".")
    return key or execution_id, int(number) if number.isdigit() else 0


def is_paper_account(account_id: str) -> bool:
    """Return whether an account belongs to a paper login: its number begins with D (DU, DF, DI)."""
    return account_id.startswith("D")
