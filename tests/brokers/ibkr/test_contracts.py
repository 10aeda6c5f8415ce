"""First lookups of contracts: many at once, and each market rule once."""

import asyncio
from decimal import Decimal

from brokers.ibkr.client import InteractiveBrokers
from tests.brokers.ibkr.conftest import connection_settings
from tests.support.ibkr_gateway import Kind

SYMBOLS = ("SPY", "IEF", "GLD")


def ticks_of(gateway, symbols):
    """Return the tick size in each symbol's quote, from a client without known contracts."""

    async def quote():
        client = InteractiveBrokers(connection_settings(gateway))
        await client.connect()
        try:
            prices = await client.get_multiple_market_prices(symbols)
            return {symbol: price.tick_usd for symbol, price in prices.items()}
        finally:
            await client.disconnect()

    return asyncio.run(quote())


def test_market_rule_shared_by_symbols_is_requested_once(gateway):
    assert ticks_of(gateway, SYMBOLS) == dict.fromkeys(SYMBOLS, Decimal("0.01"))
    assert gateway.do(lambda: gateway.gateway.requests["91"]) == 1


def test_market_rule_without_response_is_requested_again(gateway, records):
    penny = records.add_instrument("PENNY", bid="0.5", ask="0.51", market_rule=32, min_tick=Decimal("0.01"))
    gateway.fault(Kind.MUTE_RULE)
    assert ticks_of(gateway, [penny.symbol]) == {"PENNY": Decimal("0.0001")}
