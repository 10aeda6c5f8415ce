"""Quotes of the simulated market, at the current time or at the instant at which prices are frozen."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal

from django.db.models import QuerySet
from django.utils import timezone

from brokers.broker_types import ContractPrice
from brokers.simulated.faults import Kind, ScriptedFaults
from brokers.simulated.models import SimulatedInstrument, SimulatedMarket
from brokers.simulated.price_model import quote_at

STALE_BY = timedelta(hours=1)
"""Age that the fault `stale_quote` gives to a quote."""


def get_market() -> SimulatedMarket:
    """Return the market's row, created on first use."""
    return SimulatedMarket.objects.get_or_create(pk=1)[0]


def market_prices(
    instruments: Iterable[SimulatedInstrument], market: SimulatedMarket, now: datetime
) -> dict[str, ContractPrice]:
    """Return the prices at which the exchange trades, without scripted faults, by symbol."""
    return {
        symbol: ContractPrice(symbol=symbol, bid=bid, ask=ask, last=bid, close=bid, as_of=now, is_halted=False)
        for symbol, (bid, ask) in _bid_and_ask(market, instruments, market.frozen_at or now).items()
    }


def past_prices(symbols: Iterable[str], instant: datetime) -> dict[str, Decimal]:
    """Return the mid price of each symbol at any past instant."""
    sides = _bid_and_ask(get_market(), _instruments(symbols), instant)
    return {symbol: (bid + ask) / 2 for symbol, (bid, ask) in sides.items()}


def _instruments(symbols: Iterable[str]) -> QuerySet[SimulatedInstrument]:
    return SimulatedInstrument.objects.filter(symbol__in=list(symbols))


def _bid_and_ask(
    market: SimulatedMarket, instruments: Iterable[SimulatedInstrument], at: datetime
) -> dict[str, tuple[Decimal, Decimal]]:
    return {
        one.symbol: quote_at(market.seed, one.symbol, one.base_price_usd, one.spread_bps, one.volatility_percent, at)
        for one in instruments
    }


def quoted_prices(symbols: Iterable[str]) -> dict[str, ContractPrice]:
    """Return the quotes that clients receive, with scripted faults."""
    faults, quotes = ScriptedFaults(), market_prices(_instruments(symbols), get_market(), timezone.now())
    return {symbol: price for symbol, quote in quotes.items() if (price := _with_faults(quote, faults))}


def _with_faults(price: ContractPrice, faults: ScriptedFaults) -> ContractPrice | None:
    symbol = price.symbol
    if faults.take(Kind.MISSING_QUOTE, symbol=symbol):
        return None
    if faults.take(Kind.NAN_QUOTE, symbol=symbol):
        return price.model_copy(update={"bid": None, "ask": None})
    if faults.take(Kind.CROSSED_QUOTE, symbol=symbol):
        return price.model_copy(update={"bid": price.ask, "ask": price.bid})
    if faults.take(Kind.HALTED, symbol=symbol):
        return price.model_copy(update={"is_halted": True})
    if faults.take(Kind.STALE_QUOTE, symbol=symbol):
        return price.model_copy(update={"as_of": price.as_of - STALE_BY})
    return price
