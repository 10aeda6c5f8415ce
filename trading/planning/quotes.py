"""Select the quotes that may be traded on. A symbol without one gets a warning and is not traded."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal

from accounts.policies import FrozenPolicy
from brokers.broker_types import ContractPrice, PriceKind
from calculator import Quote
from calculator.formats import percent
from calculator.formats import price as price_text
from trading.common.formats import duration_text
from trading.models.run_documents import RunWarning

UNTRADABLE = frozenset(
    {
        *("exchange_closed", "symbol_halted", "quote_missing", "quote_stale", "quote_delayed", "quote_crossed"),
        "quote_spread",
    }
)
"""Codes of the warnings about symbols that are not traded."""


def tradable_quotes(
    symbols: Sequence[str],
    prices: Mapping[str, ContractPrice],
    closed: Collection[str],
    policy: FrozenPolicy,
    now: datetime,
) -> tuple[list[Quote], list[RunWarning]]:
    """Split prices into quotes that may be traded on and warnings about the others.

    Args:
        symbols: symbols that need a quote.
        prices: the broker's prices by symbol.
        closed: symbols whose exchange is closed now, whatever their prices are.
        policy: limits for age, spread and kind of a quote.
        now: time of the plan.

    Returns:
        Quotes in the order of the symbols, and one warning for each symbol without one.
    """
    quotes, warnings = [], []
    for symbol in symbols:
        if symbol in closed:
            text = f"The exchange of {symbol} is closed today by the broker's trading hours. It is not traded."
            warnings.append(RunWarning(code="exchange_closed", message=text))
            continue
        price = prices.get(symbol)
        if price is None:
            warnings.append(RunWarning(code="quote_missing", message=f"There is no quote for {symbol}."))
            continue
        usable = _with_synthetic_ask(price, policy)
        if problem := next(_problems(usable, policy, now), None):
            code, text = problem
            warnings.append(RunWarning(code=code, message=text))
            continue
        if usable is not price:
            text = f"The ask of {symbol} is synthetic: its bid or last price plus the policy's offset."
            warnings.append(RunWarning(code="quote_synthetic", message=text))
        quotes.append(Quote(symbol=symbol, bid=usable.bid, ask=usable.ask, tick_usd=price.tick_usd))
    return quotes, warnings


def _with_synthetic_ask(price: ContractPrice, policy: FrozenPolicy) -> ContractPrice:
    """Return the price with an ask made from the bid or last price, if it has none and the policy allows it."""
    basis = price.bid or price.last
    if not policy.synthetic_ask_enabled or price.ask is not None or basis is None or basis <= 0:
        return price
    return price.model_copy(update={"bid": price.bid or basis, "ask": basis + policy.synthetic_ask_offset_usd})


def _problems(price: ContractPrice, policy: FrozenPolicy, now: datetime) -> Iterator[tuple[str, str]]:
    """Return the codes and texts of the warnings about a price that may not be traded on, the most specific first."""
    symbol, bid, ask = price.symbol, price.bid, price.ask
    reason = f" {price.message}" if price.message else ""
    if price.is_halted:
        yield "symbol_halted", f"Trading in {symbol} is halted. It is not traded."
    age_seconds = (now - price.as_of).total_seconds()
    if (limit := policy.quote_max_age_seconds) < age_seconds:
        age, allowed = duration_text(age_seconds), duration_text(limit)
        yield "quote_stale", f"The quote of {symbol} is {age} old; the policy allows {allowed}.{reason}"
    if bid is None and ask is None and reason:
        yield "quote_missing", f"There is no quote for {symbol}:{reason}"
    if price.kind is not PriceKind.LIVE and not policy.allow_delayed_quotes:
        yield "quote_delayed", f"The quote of {symbol} is {price.kind}, not live.{reason}"
    if bid is None and ask is None:
        yield "quote_crossed", f"The quote of {symbol} has neither bid nor ask, as is usual outside trading hours."
    elif bid is None or ask is None or not price.is_two_sided:
        sides = ("none" if side is None else price_text(side) for side in (bid, ask))
        yield "quote_crossed", f"The quote of {symbol} has no valid bid and ask ({', '.join(sides)}).{reason}"
    elif (spread_percent := (ask - bid) / ((ask + bid) / 2) * Decimal(100)) > (most := policy.max_spread_percent):
        spread, allowed = percent(spread_percent, 2), percent(most, None)
        yield "quote_spread", f"The spread of {symbol} is {spread}; the policy allows {allowed}."
