"""Tiny makers: accounts, targets and quotes in a line."""

import random
from decimal import Decimal

from calculator import (
    AccountConfig,
    AccountState,
    AllocationItem,
    Commission,
    Position,
    Quote,
    SymbolRule,
    TradeCalculator,
)
from calculator.commissions import charge_by
from calculator.fixed_point import from_micro, to_micro

CENT = Decimal("0.01")
FREE = Commission(kind="per_share", per_share=Decimal(0), min_per_order=Decimal(0), max_rate=Decimal(1))


def config(**fields):
    """A policy without reserve, offset, band, commission and least improvement, but for what is said."""
    plain = {
        "buy_slippage_percent": Decimal(0),
        "sell_slippage_percent": Decimal(0),
        "band_percent": Decimal(0),
        "commission": FREE,
        "minimum_improvement_bps": Decimal(0),
    }
    return AccountConfig(
        **(
            plain
            | {
                key: Decimal(v) if isinstance(v, (str, int)) and not isinstance(v, bool) and key not in WORDS else v
                for key, v in fields.items()
            }
        )
    )


WORDS = {"unmanaged", "outside_model", "shorts", "one_share"}


def quote(symbol, bid, ask=None, **fields):
    return Quote(symbol=symbol, bid=Decimal(bid), ask=Decimal(ask or bid), **fields)


def targets(**weights):
    return [AllocationItem(symbol=symbol, weight=Decimal(weight)) for symbol, weight in weights.items()]


def account(cash, *positions, total=None):
    """Positions are (symbol, quantity, price); the total is what they add up to unless said."""
    rows = tuple(
        Position(symbol=symbol, quantity=Decimal(quantity), market_price=Decimal(price))
        for symbol, quantity, price in positions
    )
    booked = Decimal(cash) + sum((row.quantity * row.market_price for row in rows), Decimal(0))
    return AccountState(
        total_value_usd=Decimal(total) if total is not None else booked, cash_usd=Decimal(cash), positions=rows
    )


def plan(account_, targets_, quotes, *, rules=(), mode="full", raise_usd=None, **policy):
    amount = None if raise_usd is None else Decimal(raise_usd)
    return TradeCalculator(config(**policy)).plan(account_, targets_, quotes, rules=rules, mode=mode, raise_usd=amount)


def rule(symbol, kind, **bounds):
    """A rule; bounds are `minimum_shares` and `maximum_shares`."""
    return SymbolRule(symbol=symbol, rule=kind, **{name: Decimal(bound) for name, bound in bounds.items()})


def traded(result):
    return {trade.symbol: trade.quantity for trade in result.trades}


def reasons(result):
    return {item.symbol: item.reason for item in result.not_traded}


def charged(commission, shares, price):
    """Commission in USD."""
    return from_micro(charge_by(commission)(shares, shares * to_micro(price)))


def executed(state, result, quotes):
    """The account after all trades at their quotes; without a result as it is, at new marks."""
    marks = {quote.symbol: (quote.bid + quote.ask) / 2 for quote in quotes}
    held = {row.symbol: row.quantity for row in state.positions}
    cash = state.cash_usd
    for line in (*result.plan.sells, *result.plan.buys) if result else ():
        held[line.symbol] = held.get(line.symbol, Decimal(0)) + line.quantity
        cash -= line.quantity * line.quote_usd + charged(result.plan.commission, abs(line.quantity), line.quote_usd)
    return account(cash, *((symbol, quantity, marks[symbol]) for symbol, quantity in held.items() if quantity))


def drawn_account(seed, size):
    """An account with `size` targets near and far from balance, a missing one, and one position that is no target."""
    rng = random.Random(seed)
    names = [f"S{i:03d}" for i in range(size)]
    value = rng.choice([2_000, 10_000, 100_000, 1_000_000])
    prices = {name: Decimal(rng.choice([rng.randint(500, 9000), rng.randint(9000, 300_000)])) / 100 for name in names}
    parts = {name: rng.randint(1, 40) for name in names}
    whole = sum(parts.values()) * rng.choice([1, 1, 1.3])
    weights = {name: f"{part / whole - 1e-6:.6f}" for name, part in parts.items()}
    rows = []
    for name in names[rng.randint(0, 1) :]:
        wanted = float(value) * float(weights[name]) * rng.choice([0, 1, rng.gauss(1, 0.1), rng.gauss(1, 0.6)])
        rows.append((name, max(0, round(wanted / float(prices[name]))), prices[name]))
    quotes = [quote(name, price - CENT, price + CENT) for name, price in prices.items()]
    policy = config(
        cash_reserve_percent=rng.choice([0, 2]),
        band_percent=rng.choice(["0", "0.5", "2"]),
        commission=rng.choice([Commission(), Commission(kind="per_share"), Commission(rate=Decimal(0))]),
        minimum_improvement_bps=rng.choice([0, 10]),
        one_share=rng.random() < 0.7,
    )
    state = account(rng.randint(0, value // rng.choice([4, 40])), *(row for row in rows if row[1]))
    return state, targets(**weights), quotes, policy
