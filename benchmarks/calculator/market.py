"""The portfolios and the price paths of the yearly simulation, generated from a seed."""

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from calculator import Quote

CENT = Decimal("0.01")
SESSIONS = 252
MARKET_VOLATILITY, YEARLY_RETURN = 0.008, 0.06
"""Standard deviation of a day's return that all symbols share, and the expected return of a year, as fractions."""


@dataclass(frozen=True)
class Portfolio:
    """Target weights and first prices in USD by symbol; each symbol has its own volatility a day, as a fraction."""

    name: str
    weights: dict[str, Decimal]
    prices: dict[str, float]
    volatility: float


def _portfolio(name: str, volatility: float, rows: str) -> Portfolio:
    """Return a portfolio from rows of symbol, weight in percent and price in USD."""
    parts = [row.split() for row in rows.split(",")]
    weights = {symbol: Decimal(weight) / 100 for symbol, weight, _ in parts}
    return Portfolio(name, weights, {symbol: float(price) for symbol, _, price in parts}, volatility)


PORTFOLIOS = (
    _portfolio("four funds", 0.004, "F01 47 290, F02 23 65, F03 20 73, F04 10 230"),
    _portfolio(
        "ten funds",
        0.006,
        "F01 24 290, F02 16 65, F03 14 73, F04 10 230, F05 9 510, F06 8 48, F07 7 105, F08 5 180, F09 4 31, F10 3 88",
    ),
    _portfolio(
        "sixteen stocks",
        0.013,
        "S01 12 185, S02 11 420, S03 9 172, S04 8 505, S05 8 64, S06 7 28, S07 7 148, S08 6 232, S09 6 96, S10 5 740, "
        "S11 5 52, S12 4 118, S13 4 39, S14 3 310, S15 3 83, S16 2 15",
    ),
    _portfolio(
        "thirty stocks",
        0.015,
        ", ".join(f"S{i:02d} {Decimal(100) / 30:.4f} {12 * 1.145**i:.2f}" for i in range(1, 31)),
    ),
)


def quotes_by_session(portfolio: Portfolio, seed: int) -> Iterator[dict[str, Quote]]:
    """Yield the quotes of each session: a random walk of the market and of each symbol, with a spread of 4 bp or a cent."""
    rng = random.Random(f"year {portfolio.name} {seed}")
    prices = dict(portfolio.prices)
    for _ in range(SESSIONS):
        market = rng.gauss(YEARLY_RETURN / SESSIONS, MARKET_VOLATILITY)
        for symbol in prices:
            prices[symbol] *= math.exp(market + rng.gauss(0, portfolio.volatility))
        yield {symbol: _quote(symbol, price) for symbol, price in prices.items()}


def _quote(symbol: str, price: float) -> Quote:
    bid = Decimal(price * 0.9998).quantize(CENT, "ROUND_FLOOR")
    return Quote(symbol=symbol, bid=bid, ask=max(bid + CENT, Decimal(price * 1.0002).quantize(CENT, "ROUND_CEILING")))
