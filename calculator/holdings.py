"""The account in integers: one line for each symbol that is held or a target."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from calculator.cash_reserve import HUNDRED, cash_floor
from calculator.commissions import Charge, charge_by
from calculator.errors import CalculationRefused
from calculator.fixed_point import from_micro, to_micro, value_of
from calculator.line import ZERO, Line
from calculator.model_base import Rules, is_ignored, keep_outside, share_out
from calculator.plan_types import AccountConfig, AccountState, Position, Quote

NOT_HELD = ZERO, ZERO
NO_RULES: Rules = {}


@dataclass(frozen=True)
class Holdings:
    """The input of the sizing, sorted by symbol, so that the order of input rows does not matter."""

    total: int
    cash_floor: int
    cash: int
    cash_target: int
    lines: tuple[Line, ...]
    others: tuple[Position, ...]  # not US stocks or ETFs: counted, never traded
    config: AccountConfig
    rules: Rules
    pins: Mapping[str, str]  # reason why a target does not have its share, by symbol
    charge: Charge


def make_holdings(
    account: AccountState,
    weights: Mapping[str, Decimal],
    quotes: Mapping[str, Quote],
    config: AccountConfig,
    rules: Rules = NO_RULES,
    raised: int = 0,
) -> Holdings:
    """Combine account, targets and quotes; weights, quotes and rules are by symbol.

    The cash floor includes the amount to be raised, in micro-dollars.

    Raises:
        CalculationRefused: `reserve_exceeds_value`, `raise_exceeds_value`.
    """
    held = _held(account, quotes)
    ignored = 0
    for symbol in held.keys() - weights.keys():
        if is_ignored(symbol, config, rules):
            quantity, mark = held.pop(symbol)
            ignored += value_of(quantity, to_micro(mark))
    total = to_micro(account.total_value_usd) - ignored
    floor = cash_floor(total, config) + raised
    if floor > total:
        raise CalculationRefused(
            "raise_exceeds_value",
            f"The amount of ${from_micro(raised):.2f} and the reserve are more than the account value of "
            f"${from_micro(total):.2f}. Raise less.",
        )
    lines = _lines(held, weights, quotes, Limits(config))
    others = tuple([position for position in account.positions if not position.tradable])
    staying = sum([_value_of(position, quotes) for position in others])
    for line in lines:
        if not line.is_target:
            keep_outside(line, config, rules)
            staying += line.target
    # What is owed outside the model does not make its base larger.
    base = max(0, total - floor - max(0, staying))
    pins = share_out([line for line in lines if line.is_target], base, rules)
    return Holdings(
        total=total,
        cash_floor=floor,
        cash=to_micro(account.cash_usd),
        cash_target=total - staying - sum([line.target for line in lines if line.is_target]),
        lines=tuple(lines),
        others=others,
        config=config,
        rules=rules,
        pins=pins,
        charge=charge_by(config.commission),
    )


def _value_of(position: Position, quotes: Mapping[str, Quote]) -> int:
    return value_of(position.quantity, to_micro(mark_usd(position, quotes) or ZERO))


def _held(account: AccountState, quotes: Mapping[str, Quote]) -> dict[str, tuple[Decimal, Decimal]]:
    """Return quantity and mark by symbol; rows of one symbol are combined at the mark that keeps their value."""
    held: dict[str, tuple[Decimal, Decimal]] = {}
    for position in account.positions:
        if not position.tradable:
            continue
        symbol, quantity, mark = position.symbol, position.quantity, mark_usd(position, quotes) or ZERO
        if symbol in held:
            quantity_before, mark_before = held[symbol]
            combined = quantity_before + quantity
            mark = (quantity_before * mark_before + quantity * mark) / combined if combined else mark
            quantity = combined
        held[symbol] = quantity, mark
    return held


def mark_usd(position: Position, quotes: Mapping[str, Quote]) -> Decimal | None:
    """Return the broker's mark of a position, else the mid of its quote; None without a mark and a valid quote."""
    if position.market_price is not None or not position.tradable:
        return position.market_price
    quote = quotes.get(position.symbol)
    sides = _two_sided(quote) if quote else None
    return from_micro(sum(sides) // 2) if sides else None


class Limits:
    """Limit prices on the tick grid, in micro-dollars: buys rounded up above the ask, sells down below the bid."""

    def __init__(self, config: AccountConfig) -> None:
        self._buy = (1 + config.buy_slippage_percent / HUNDRED).as_integer_ratio()
        self._sell = (1 - config.sell_slippage_percent / HUNDRED).as_integer_ratio()
        self._tick_usd, self._tick = ZERO, 1

    def of(self, bid: int, ask: int, tick_usd: Decimal) -> tuple[int, int]:
        """Return the buy and sell limit, at least one tick; a sell limit of 0 is not a valid price."""
        if tick_usd != self._tick_usd:  # usually the same as for the previous symbol
            self._tick_usd, self._tick = tick_usd, max(1, to_micro(tick_usd))
        tick = self._tick
        up, over = self._buy
        down, under = self._sell
        sell = bid * down // (under * tick) * tick
        return -(-ask * up // (over * tick)) * tick, sell or (tick if tick <= bid else 0)


def _lines(
    held: Mapping[str, tuple[Decimal, Decimal]],
    weights: Mapping[str, Decimal],
    quotes: Mapping[str, Quote],
    limits: Limits,
) -> list[Line]:
    """Return one line per symbol, sorted by symbol, without targets."""
    lines = []
    for symbol in sorted(held.keys() | weights.keys()):
        quantity, broker_mark = held.get(symbol, NOT_HELD)
        weight, quote = weights.get(symbol), quotes.get(symbol)
        buy_limit = sell_limit = bid = ask = 0
        if quote is not None and (sides := _two_sided(quote)):
            bid, ask = sides
            mark = (bid + ask) // 2
            buy_limit, sell_limit = limits.of(bid, ask, quote.tick_usd)
        else:
            mark = to_micro(broker_mark)
        whole = int(quantity)
        line = Line(
            symbol,
            quantity,
            weight or ZERO,
            weight is not None,
            mark,
            bid,
            ask,
            buy_limit,
            sell_limit,
            buy_limit > 0 and sell_limit > 0,
            whole * mark if whole == quantity else value_of(quantity, mark),
            whole if whole > 0 else 0,
        )
        lines.append(line)
    return lines


def _two_sided(quote: Quote) -> tuple[int, int] | None:
    """Return bid and ask in micro-dollars if both are finite and 0 < bid <= ask."""
    bid, ask = quote.bid, quote.ask
    if bid is None or ask is None or not (bid.is_finite() and ask.is_finite() and bid <= ask):
        return None
    bid_micro = to_micro(bid)
    return (bid_micro, to_micro(ask)) if bid_micro > 0 else None
