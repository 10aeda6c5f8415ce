"""Between the broker's words and ours. Pure, and the only place where a float is touched."""

import math
from collections.abc import Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from ib_async import Contract, ContractDetails, Order, OrderState, PortfolioItem, PriceIncrement
from ib_async.util import UNSET_DOUBLE

from brokers.broker_types import Feasibility, OrderStatus, OrderType, PriceKind, SecurityKind, TimeInForce

KINDS = {
    "STK": SecurityKind.STOCK,
    "OPT": SecurityKind.OPTION,
    "FOP": SecurityKind.OPTION,
    "WAR": SecurityKind.OPTION,
    "FUT": SecurityKind.FUTURE,
    "FUND": SecurityKind.FUND,
    "BOND": SecurityKind.BOND,
    "BILL": SecurityKind.BOND,
    "CASH": SecurityKind.CASH,
}
PRICE_KINDS = {1: PriceKind.LIVE, 2: PriceKind.FROZEN, 3: PriceKind.DELAYED, 4: PriceKind.DELAYED}
ORDER_TYPES = {OrderType.MARKET: "MKT", OrderType.LIMIT: "LMT"}
TIMES_IN_FORCE = {TimeInForce.DAY: "DAY", TimeInForce.GTC: "GTC", TimeInForce.IOC: "IOC"}

PENDING_WORDS = frozenset({"", "PendingSubmit", "ApiPending"})
LIVE_WORDS = frozenset({"PreSubmitted", "Submitted", "PendingCancel"})
CANCELLED_WORDS = frozenset({"Cancelled", "ApiCancelled"})

DELAYED_FOLLOWS = frozenset({10167, 10090})
"""Remarks about a quote that comes all the same: delayed, or in part."""

TickSteps = Sequence[tuple[Decimal, Decimal]]
"""From which price on which tick holds, lowest first."""


def exact(value: float | Decimal | str | None) -> Decimal | None:
    """The number as it was written on the wire; None for what is unset, not a number or infinite."""
    if value is None or value == "":
        return None
    if isinstance(value, float) and (not math.isfinite(value) or value == UNSET_DOUBLE):
        return None
    number = Decimal(str(value))
    return number if number.is_finite() else None


def amount(value: float | Decimal | str | None) -> Decimal:
    """The number, zero where there is none; whole ones without a fraction."""
    number = exact(value) or Decimal(0)
    whole = number.to_integral_value()
    return whole if whole == number else number


def price(value: float | Decimal | str | None) -> Decimal | None:
    """A price that can be one: finite and above zero. The broker writes -1 for an empty side."""
    number = exact(value)
    return number if number is not None and number > 0 else None


def signed(side: str, quantity: float | Decimal) -> Decimal:
    """Positive for a buy, negative for a sell; the broker says BUY and SELL of orders, BOT and SLD of executions."""
    number = amount(quantity)
    return number if side in {"BUY", "BOT"} else -number


def security_kind(sec_type: str) -> SecurityKind:
    """What a contract is."""
    return KINDS.get(sec_type, SecurityKind.OTHER)


def price_kind(data_type: int) -> PriceKind:
    """Live, frozen or delayed; frozen delayed quotes are delayed first of all, an unknown kind is not live."""
    return PRICE_KINDS.get(data_type, PriceKind.DELAYED)


def our_symbol(contract: Contract) -> str:
    """The symbol in our spelling: the broker writes BRK B; what is no stock goes by its full local symbol."""
    if contract.secType == "STK":
        return contract.symbol.replace(" ", ".")
    return contract.localSymbol or contract.symbol


def broker_symbol(symbol: str) -> str:
    """A stock's symbol in the broker's spelling."""
    return symbol.replace(".", " ")


def smart_stock(symbol: str, con_id: int = 0, primary_exchange: str = "") -> Contract:
    """A US stock or ETF, routed smart."""
    return Contract(
        secType="STK",
        conId=con_id,
        symbol=broker_symbol(symbol),
        exchange="SMART",
        primaryExchange=primary_exchange,
        currency="USD",
    )


def is_us_stock(contract: Contract) -> bool:
    """Whether it may be matched with a target."""
    return contract.secType == "STK" and contract.currency == "USD"


def smart_rule(details: ContractDetails) -> int | None:
    """The market rule that holds for smart routing; the rules stand in the order of the exchanges."""
    rules = dict(zip(details.validExchanges.split(","), details.marketRuleIds.split(","), strict=False))
    rule = rules.get("SMART", "")
    return int(rule) if rule.isdigit() else None


def tick_steps(increments: Sequence[PriceIncrement], least: float) -> tuple[tuple[Decimal, Decimal], ...]:
    """The tick grid of a contract, lowest price first; by its least tick alone where no rule is told."""
    steps = [(amount(step.lowEdge), exact(step.increment) or Decimal(0)) for step in increments]
    good = sorted((low, tick) for low, tick in steps if tick > 0)
    return tuple(good) or ((Decimal(0), price(least) or Decimal("0.01")),)


def tick_at(steps: TickSteps, at_price: Decimal) -> Decimal:
    """The tick that holds at a price."""
    tick = steps[0][1]
    for lowest, step in steps:
        if at_price >= lowest:
            tick = step
    return tick


def on_grid(limit: Decimal, quantity: Decimal, steps: TickSteps) -> Decimal:
    """The limit on the tick grid, never worse than asked: a buy is rounded down, a sell up."""
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
    """The order in the broker's words; account, time in force and reference are always set."""
    order = Order(
        action="BUY" if quantity > 0 else "SELL",
        orderType=ORDER_TYPES[order_type],
        tif=TIMES_IN_FORCE[time_in_force],
        account=account_id,
        orderRef=client_order_id,
    )
    order.totalQuantity = abs(quantity)  # type: ignore[assignment]  # written as it is, which a float would not be
    if limit is not None:
        order.lmtPrice = limit
    return order


def order_type(word: str) -> OrderType:
    """How a live order is priced; all that wait for a price count as limits."""
    return OrderType.MARKET if word == "MKT" else OrderType.LIMIT


def order_status(word: str, *, total: Decimal, filled: Decimal, refused: bool, ended: bool) -> OrderStatus:
    """What is known of an order: fills first, then proof of its end, then the broker's last word.

    Args:
        word: the last status, empty before the first.
        total: shares ordered; zero where the broker does not say it any more.
        filled: shares filled, by status and executions, whichever is more.
        refused: an error proved that the order does not exist.
        ended: an error proved that the rest was cancelled.
    """
    if word == "Filled" or (total > 0 and filled >= total):
        return OrderStatus.FILLED
    if refused:
        return OrderStatus.CANCELLED if filled else OrderStatus.REJECTED
    if ended or word in CANCELLED_WORDS:
        return OrderStatus.CANCELLED
    # Inactive alone is no proof: an order that is held is inactive too, and can come to life.
    if word in LIVE_WORDS or word == "Inactive" or filled:
        return OrderStatus.WORKING
    return OrderStatus.PENDING if word in PENDING_WORDS else OrderStatus.UNKNOWN


def feasibility(state: OrderState) -> Feasibility:
    """The broker's answer to a what-if order: margin it would need, beside the equity that would be left."""
    margin, equity = exact(state.initMarginAfter), exact(state.equityWithLoanAfter)
    words = (state.warningText or "").strip()
    if margin is not None and equity is not None and margin > equity:
        return Feasibility(
            accepted=False,
            margin_after_usd=margin,
            message=words or f"The margin would be ${margin:,.2f}, the equity ${equity:,.2f}.",
        )
    return Feasibility(accepted=True, margin_after_usd=margin, message=words)


def unit_mark(item: PortfolioItem, rate: Decimal | None) -> Decimal | None:
    """USD for one unit of a position, an option's multiplier included; None where the rate is not known."""
    if item.contract.secType == "STK" and rate is not None:
        mark = price(item.marketPrice)
        return mark * rate if mark is not None else None
    value, units = exact(item.marketValue), exact(item.position)
    return value / units * rate if value is not None and units and rate is not None else None


def execution_key(execution_id: str) -> str:
    """The part of an execution's id that a correction keeps; what follows its last point counts corrections."""
    return execution_id.rpartition(".")[0] or execution_id


def execution_revision(execution_id: str) -> int:
    """How often an execution has been corrected, by its id; 0 where the id does not say."""
    last = execution_id.rpartition(".")[2]
    return int(last) if last.isdigit() else 0


def is_paper_account(account_id: str) -> bool:
    """Whether the account is one of a paper login: their numbers begin with D (DU, DF, DI)."""
    return account_id.startswith("D")
