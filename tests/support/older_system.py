"""The preview of the system that this one descends from, written down as the reference for those who move.

Target value minus current value, over the ask with slippage and commission, cut to the cash there is before the sells.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

UTILIZATION, MINIMUM_CASH_USD = Decimal("0.995"), Decimal(100)
SLIPPAGE, COMMISSION, BAND_PERCENT = Decimal("0.005"), Decimal("0.01"), Decimal("0.5")


def older_preview(
    cash: Decimal, holdings: Mapping[str, Any], weights: Any, quotes: Mapping[str, Any]
) -> dict[str, int]:
    """Trades by symbol, negative for sells.

    Args:
        cash: in USD.
        holdings: shares by symbol.
        weights: pairs of symbol and fraction; of two for one symbol the last counts.
        quotes: (bid, ask) by symbol.
    """
    targets = dict(weights)
    middle = {symbol: (bid + ask) / 2 for symbol, (bid, ask) in quotes.items()}
    total = cash + sum(shares * middle[symbol] for symbol, shares in holdings.items())
    usable = min(total * UTILIZATION, total - MINIMUM_CASH_USD)
    trades = {symbol: -round(shares) for symbol, shares in holdings.items() if symbol not in targets}
    for symbol, weight in targets.items():
        missing = weight * usable - holdings.get(symbol, 0) * middle[symbol]
        if total and abs(missing) / total * 100 < BAND_PERCENT:
            continue
        bid, ask = quotes[symbol]
        trades[symbol] = int(missing / _cost(ask)) if missing > 0 else -int(-missing / bid)
    return _cut_to(cash, trades, quotes)


def _cost(ask: Decimal) -> Decimal:
    return ask * (1 + SLIPPAGE) * (1 + COMMISSION)


def _cut_to(cash: Decimal, trades: Mapping[str, Any], quotes: Mapping[str, Any]) -> dict[str, int]:
    """The buys in proportion to the cash of before the sells; what they bring is not counted."""
    spent = sum(shares * _cost(quotes[symbol][1]) for symbol, shares in trades.items() if shares > 0)
    part = min(Decimal(1), max(cash, 0) / spent) if spent else Decimal(1)
    cut = {symbol: int(shares * part) if shares > 0 else shares for symbol, shares in trades.items()}
    return {symbol: shares for symbol, shares in cut.items() if shares}
