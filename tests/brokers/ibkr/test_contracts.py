"""Contracts that are looked up for the first time: many at once, each rule of ticks once."""

import asyncio
from decimal import Decimal

from brokers.broker_types import ConnectionSettings
from brokers.ibkr.client import InteractiveBrokers
from tests.brokers.ibkr.conftest import ACCOUNT
from tests.support.ibkr_gateway import Kind

SYMBOLS = ("SPY", "IEF", "GLD")


def ticks_of(gateway, symbols):
    """The tick of each symbol's quote, asked for by a client that knows no contract yet."""

    async def look():
        client = InteractiveBrokers(
            ConnectionSettings(environment="paper", client_id=101, account_ids=(ACCOUNT,), port=gateway.port)
        )
        await client.connect()
        try:
            prices = await client.get_multiple_market_prices(symbols)
            return {symbol: price.tick_usd for symbol, price in prices.items()}
        finally:
            await client.disconnect()

    return asyncio.run(look())


def test_symbols_of_one_rule_ask_for_it_once(gateway):
    assert ticks_of(gateway, SYMBOLS) == dict.fromkeys(SYMBOLS, Decimal("0.01"))
    assert gateway.do(lambda: gateway.gateway.asked["91"]) == 1


def test_a_rule_whose_answer_is_late_is_asked_for_again_in_place_of_being_guessed(gateway, book):
    penny = book.add_instrument("PENNY", bid="0.5", ask="0.51", market_rule=32, min_tick=Decimal("0.01"))
    gateway.fault(Kind.MUTE_RULE)
    assert ticks_of(gateway, [penny.symbol]) == {"PENNY": Decimal("0.0001")}
