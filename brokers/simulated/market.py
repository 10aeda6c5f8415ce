"""Quotes of the simulated market, at the current time or at the instant at which prices are frozen."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal

from django.utils import timezone

from brokers.broker_types import ContractPrice
from brokers.simulated.faults import Kind, take_fault
from brokers.simulated.models import SimulatedInstrument, SimulatedMarket
from brokers.simulated.price_model import quote_at

STALE_BY = timedelta(hours=1)
"""Age that the fault `stale_quote` gives to a quote."""


def get_market() -> SimulatedMarket:
    """Return the market's row, created on first use."""
    return SimulatedMarket.objects.get_or_create(pk=1)[0]


def market_prices(symbols: Iterable[str], now: datetime | None = None) -> dict[str, ContractPrice]:
    """Return the prices at which the exchange trades, without scripted faults."""
    market, now = get_market(), now or timezone.now()
    return {
        symbol: ContractPrice(symbol=symbol, bid=bid, ask=ask, last=bid, close=bid, as_of=now, is_halted=False)
        for symbol, (bid, ask) in _bid_and_ask(market, symbols, market.frozen_at or now).items()
    }


def past_prices(symbols: Iterable[str], instant: datetime) -> dict[str, Decimal]:
    """Return the mid price of each symbol at any past instant."""
    return {symbol: (bid + ask) / 2 for symbol, (bid, ask) in _bid_and_ask(get_market(), symbols, instant).items()}


def _bid_and_ask(market: SimulatedMarket, symbols: Iterable[str], at: datetime) -> dict[str, tuple[Decimal, Decimal]]:
    return {
        one.symbol: quote_at(market.seed, one.symbol, one.base_price_usd, one.spread_bps, one.volatility_percent, at)
        for one in SimulatedInstrument.objects.filter(symbol__in=list(symbols))
    }


def quoted_prices(symbols: Iterable[str]) -> dict[str, ContractPrice]:
    """Return the quotes that clients receive, with scripted faults."""
    return {symbol: price for symbol, quote in market_prices(symbols).items() if (price := _with_faults(quote))}


def _with_faults(price: ContractPrice) -> ContractPrice | None:
    symbol = price.symbol
    if take_fault(Kind.MISSING_QUOTE, symbol=symbol):
        return None
    if take_fault(Kind.NAN_QUOTE, symbol=symbol):
        return price.model_copy(update={"bid": None, "ask": None})
    if take_fault(Kind.CROSSED_QUOTE, symbol=symbol):
        return price.model_copy(update={"bid": price.ask, "ask": price.bid})
    if take_fault(Kind.HALTED, symbol=symbol):
        return price.model_copy(update={"is_halted": True})
    if take_fault(Kind.STALE_QUOTE, symbol=symbol):
        return price.model_copy(update={"as_of": price.as_of - STALE_BY})
    return price
