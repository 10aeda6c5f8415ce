"""Symbols in targets that read like cash, although stocks are listed under some of them (CASH and USD, for example)."""

import re
from collections.abc import Container, Iterable

from accounts.refusal_text import quoted

CASH_NAMES = frozenset({"CASH", "USD", "EUR", "GBP", "JPY", "CHF", "CAD", "AUD"})
_SEPARATORS = re.compile(r"[^A-Z0-9]+")


def reads_like_cash(symbol: str) -> bool:
    """Return whether a symbol can mean cash: CASH, a currency, both (CASH.USD, USD-CASH), or anything after "$"."""
    parts = [part for part in _SEPARATORS.split(symbol.strip().upper()) if part]
    return symbol.strip().startswith("$") or (bool(parts) and CASH_NAMES.issuperset(parts))


def cash_name_problem(symbols: Iterable[str], stocks: Container[str]) -> str | None:
    """Return why targets cannot be traded: the first symbol that reads like cash and is not one of the `stocks`."""
    for symbol in symbols:
        if symbol not in stocks and reads_like_cash(symbol):
            return (
                f"The target {quoted(symbol)} can mean cash or the stock with this symbol. For cash, remove it: what "
                "the weights leave out of 1 stays in cash. For the stock, enter its symbol in the strategy's “stocks "
                "named like cash”."
            )
    return None


def read_stock_list(text: str) -> list[str]:
    """Return the symbols of a list separated by commas or spaces, in upper case."""
    return [symbol for symbol in re.split(r"[,;\s]+", text.strip().upper()) if symbol]
