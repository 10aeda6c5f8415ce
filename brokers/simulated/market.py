"""Quotes of the simulated market, as of now or of the instant at which it was frozen."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal

from django.utils import timezone

from brokers.broker_types import ContractPrice
from brokers.simulated.faults import Kind, take_fault
from brokers.simulated.models import SimulatedInstrument, SimulatedMarket
from brokers.simulated.price_model import quote_at

STALE_BY = timedelta(hours=1)


def the_market() -> SimulatedMarket:
    """The market's row, made when first asked for."""
    return SimulatedMarket.objects.get_or_create(pk=1)[0]


def true_prices(symbols: Iterable[str], now: datetime | None = None) -> dict[str, ContractPrice]:
    """What the exchange trades at, whatever is quoted to clients."""
    market = the_market()
    now = now or timezone.now()
    at = market.frozen_at or now
    prices = {}
    for instrument in SimulatedInstrument.objects.filter(symbol__in=list(symbols)):
        bid, ask = quote_at(
            market.seed,
            instrument.symbol,
            instrument.base_price_usd,
            instrument.spread_bps,
            instrument.volatility_percent,
            at,
        )
        prices[instrument.symbol] = ContractPrice(
            symbol=instrument.symbol, bid=bid, ask=ask, last=bid, close=bid, as_of=now
        )
    return prices


def past_prices(symbols: Iterable[str], instant: datetime) -> dict[str, Decimal]:
    """The middle of each quote at an instant; the walk has no beginning."""
    seed = the_market().seed
    found = {}
    for one in SimulatedInstrument.objects.filter(symbol__in=list(symbols)):
        bid, ask = quote_at(seed, one.symbol, one.base_price_usd, one.spread_bps, one.volatility_percent, instant)
        found[one.symbol] = (bid + ask) / 2
    return found


def quoted_prices(symbols: Iterable[str]) -> dict[str, ContractPrice]:
    """What clients are told, scripted faults included."""
    return {symbol: price for symbol, true in true_prices(symbols).items() if (price := _told(true)) is not None}


def _told(price: ContractPrice) -> ContractPrice | None:
    symbol = price.symbol
    if take_fault(Kind.MISSING_QUOTE, symbol=symbol):
        return None
    if take_fault(Kind.NAN_QUOTE, symbol=symbol):
        return price.model_copy(update={"bid": None, "ask": None})
    if take_fault(Kind.CROSSED_QUOTE, symbol=symbol):
        return price.model_copy(update={"bid": price.ask, "ask": price.bid})
    if take_fault(Kind.STALE_QUOTE, symbol=symbol):
        return price.model_copy(update={"as_of": price.as_of - STALE_BY})
    return price
