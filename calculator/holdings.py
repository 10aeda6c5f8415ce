"""The account as whole numbers: one line for each symbol that is held or wanted."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from calculator.errors import CalculationRefused
from calculator.money import down_to_tick, from_micro, to_micro, up_to_tick, value_of
from calculator.values import AccountConfig, AccountState, AllocationItem, Position, Quote

HUNDRED = Decimal(100)


@dataclass(frozen=True, slots=True)
class Line:
    """One symbol; prices and values in micro-dollars."""

    symbol: str
    held: Decimal
    weight: Decimal
    is_target: bool
    mark: int
    bid: int
    ask: int
    buy_limit: int
    sell_limit: int
    tradable: bool  # it has a valid quote and both limits are prices
    value: int
    target: int
    whole_held: int  # whole shares that could be sold

    def value_at(self, shares: int) -> int:
        """Value with so many whole shares in place of the whole ones held; a fraction stays."""
        return self.value + (shares - self.whole_held) * self.mark

    def miss_at(self, shares: int) -> int:
        """Distance from the target with so many whole shares."""
        return abs(self.value_at(shares) - self.target)


@dataclass(frozen=True)
class Holdings:
    """Everything that the sizing looks at, sorted by symbol, so that the order of rows cannot matter."""

    total: int
    floor: int
    cash: int
    cash_target: int
    lines: tuple[Line, ...]
    others: tuple[Position, ...]  # no US stocks: counted, never traded
    config: AccountConfig


def make_holdings(
    account: AccountState, targets: Sequence[AllocationItem], quotes: Sequence[Quote], config: AccountConfig
) -> Holdings:
    """Brings account, targets and quotes together.

    Raises:
        CalculationRefused: `reserve_exceeds_value`.
    """
    weights = {target.symbol: target.weight for target in targets}
    held: dict[str, Decimal] = {}
    marks: dict[str, Decimal] = {}
    ignored = 0
    for position in account.positions:
        if not position.tradable:
            continue
        held[position.symbol] = held.get(position.symbol, Decimal(0)) + position.quantity
        if position.market_price is not None:
            marks[position.symbol] = position.market_price
    by_symbol = {quote.symbol: quote for quote in quotes}
    if config.unmanaged == "ignore":
        for symbol in list(held):
            if symbol not in weights:
                ignored += value_of(held.pop(symbol), to_micro(marks.get(symbol, Decimal(0))))
    total = to_micro(account.total_value_usd) - ignored
    floor = max(to_micro(config.min_cash_usd), to_micro(from_micro(total) * config.cash_reserve_percent / HUNDRED))
    if total <= floor:
        raise CalculationRefused(
            "reserve_exceeds_value",
            f"The cash reserve of ${from_micro(floor):.2f} takes up the whole account (${from_micro(total):.2f}).",
        )
    investable = from_micro(total - floor)
    lines = tuple(
        _line(symbol, held, marks, weights, by_symbol.get(symbol), investable, config)
        for symbol in sorted(held.keys() | weights.keys())
    )
    return Holdings(
        total=total,
        floor=floor,
        cash=to_micro(account.cash_usd),
        cash_target=total - sum(line.target for line in lines),
        lines=lines,
        others=tuple(position for position in account.positions if not position.tradable),
        config=config,
    )


def _line(
    symbol: str,
    held: dict[str, Decimal],
    marks: dict[str, Decimal],
    weights: dict[str, Decimal],
    quote: Quote | None,
    investable: Decimal,
    config: AccountConfig,
) -> Line:
    quantity = held.get(symbol, Decimal(0))
    bid, ask = _two_sided(quote)
    mark = to_micro((bid + ask) / 2) if bid else to_micro(marks.get(symbol, Decimal(0)))
    buy_limit = sell_limit = 0
    if quote is not None and bid:
        buy_limit = to_micro(up_to_tick(ask * (1 + config.buy_slippage_percent / HUNDRED), quote.tick_usd))
        sell_limit = to_micro(down_to_tick(bid * (1 - config.sell_slippage_percent / HUNDRED), quote.tick_usd))
    return Line(
        symbol=symbol,
        held=quantity,
        weight=weights.get(symbol, Decimal(0)),
        is_target=symbol in weights,
        mark=mark,
        bid=to_micro(bid),
        ask=to_micro(ask),
        buy_limit=buy_limit,
        sell_limit=sell_limit,
        tradable=buy_limit > 0 and sell_limit > 0,
        value=value_of(quantity, mark),
        target=to_micro(weights.get(symbol, Decimal(0)) * investable),
        whole_held=max(0, int(quantity)),
    )


def _two_sided(quote: Quote | None) -> tuple[Decimal, Decimal]:
    """Bid and ask if both are finite and 0 < bid <= ask, else zeros."""
    if quote is None or quote.bid is None or quote.ask is None:
        return Decimal(0), Decimal(0)
    if not (quote.bid.is_finite() and quote.ask.is_finite() and 0 < quote.bid <= quote.ask):
        return Decimal(0), Decimal(0)
    return quote.bid, quote.ask
