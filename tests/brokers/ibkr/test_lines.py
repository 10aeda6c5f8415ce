"""Market data lines: a login has so many for all its clients together, and one client must not starve another."""

import asyncio
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from brokers.broker_types import ConnectionSettings
from brokers.ibkr import quotes
from brokers.ibkr.client import InteractiveBrokers
from tests.brokers.ibkr.conftest import ACCOUNT
from tests.support.ibkr_gateway import Book, GatewayThread, Kind

SYMBOLS = tuple(f"SYM{number}" for number in range(8))


@pytest.fixture
def gateway():
    book = Book()
    for symbol in SYMBOLS:
        book.add_instrument(symbol)
    book.add_account(ACCOUNT, cash="100000", positions={})
    with GatewayThread(book, market_data_lines=10) as gateway:
        yield gateway


@asynccontextmanager
async def connected(gateway, client_id, quote_timeout_seconds=10.0, price_cache=None):
    client = InteractiveBrokers(
        ConnectionSettings(
            environment="paper",
            client_id=client_id,
            account_ids=(ACCOUNT,),
            port=gateway.port,
            quote_timeout_seconds=quote_timeout_seconds,
        ),
        price_cache,
    )
    await client.connect()
    try:
        yield client
    finally:
        await client.disconnect()


class Heard:
    """A price cache in memory, as two processes share one in the database; all in it may have been heard long ago."""

    def __init__(self, ago=timedelta(0)):
        self.prices = {}
        self.ago = ago

    async def get(self, symbols):
        return {symbol: self.prices[symbol] for symbol in symbols if symbol in self.prices}

    async def put(self, prices):
        for symbol, price in prices.items():
            self.prices[symbol] = price.model_copy(update={"as_of": price.as_of - self.ago})


def lines_of(gateway):
    return gateway.do(lambda: sum(len(session.lines) for session in gateway.gateway.sessions.values()))


def test_what_finds_no_line_is_quoted_when_another_client_has_let_one_go(gateway, monkeypatch):
    monkeypatch.setattr(quotes, "FRESH_SECONDS", 0.05)
    monkeypatch.setattr(quotes, "LINE_AGAIN_SECONDS", 0.05)

    async def both():
        async with connected(gateway, 101) as one, connected(gateway, 102) as two:
            first = await one.get_multiple_market_prices(SYMBOLS)
            return first, await two.get_multiple_market_prices(SYMBOLS)

    first, second = asyncio.run(both())
    assert set(first) == set(second) == set(SYMBOLS)
    assert all(price.bid for price in second.values())


def test_what_finds_no_line_is_taken_from_a_client_that_has_just_heard_it(gateway):
    async def both():
        heard = Heard()
        async with connected(gateway, 101, price_cache=heard) as one, connected(gateway, 102, price_cache=heard) as two:
            first = await one.get_multiple_market_prices(SYMBOLS)
            second = await two.get_multiple_market_prices(SYMBOLS, use_cache=False)
            return first, second, lines_of(gateway)

    first, second, lines = asyncio.run(both())
    assert {symbol: (price.bid, price.ask) for symbol, price in second.items()} == {
        symbol: (price.bid, price.ask) for symbol, price in first.items()
    }
    assert lines == 10


def test_what_another_client_heard_too_long_ago_is_not_taken(gateway, monkeypatch):
    monkeypatch.setattr(quotes, "MOST_FOR_LINES_SECONDS", 0.5)

    async def both():
        heard = Heard(timedelta(seconds=3))
        async with (
            connected(gateway, 101, price_cache=heard) as one,
            connected(gateway, 102, 0.5, price_cache=heard) as two,
        ):
            await one.get_multiple_market_prices(SYMBOLS)
            return await two.get_multiple_market_prices(SYMBOLS, use_cache=False)

    prices = asyncio.run(both())
    assert sum(price.bid is None for price in prices.values()) == len(SYMBOLS) - 2


def test_several_who_wait_for_one_symbol_ask_for_one_line(gateway, monkeypatch):
    monkeypatch.setattr(quotes, "FRESH_SECONDS", 0.05)
    monkeypatch.setattr(quotes, "LINE_AGAIN_SECONDS", 0.05)

    async def three():
        async with connected(gateway, 101) as one, connected(gateway, 102) as two:
            await one.get_multiple_market_prices(SYMBOLS)
            found = await asyncio.gather(*(two.get_multiple_market_prices(SYMBOLS) for _ in range(3)))
            return [set(prices) for prices in found], lines_of(gateway)

    found, lines = asyncio.run(three())
    assert found == [set(SYMBOLS)] * 3
    assert lines <= len(SYMBOLS)


def test_a_symbol_that_nobody_quotes_does_not_keep_the_others_from_their_lines(gateway, monkeypatch):
    monkeypatch.setattr(quotes, "FRESH_SECONDS", 0.05)
    monkeypatch.setattr(quotes, "MOST_FOR_LINES_SECONDS", 2.0)

    async def both():
        async with connected(gateway, 101) as one, connected(gateway, 102, 1.0) as two:
            await one.get_multiple_market_prices(SYMBOLS)
            await asyncio.to_thread(gateway.fault, Kind.MISSING_QUOTE, symbol=SYMBOLS[0])
            return await two.get_multiple_market_prices(SYMBOLS)

    prices = asyncio.run(both())
    assert [symbol for symbol, price in prices.items() if price.bid] == list(SYMBOLS[1:])


def test_more_symbols_than_one_client_follows_are_quoted_one_after_the_other(gateway, monkeypatch):
    monkeypatch.setattr(quotes, "MOST_LINES", 3)

    async def look():
        async with connected(gateway, 101) as one:
            fetches = (one.get_multiple_market_prices(some) for some in (SYMBOLS[:5], SYMBOLS[3:]))
            return await asyncio.gather(*fetches), await asyncio.to_thread(lines_of, gateway)

    (some, others), lines = asyncio.run(look())
    assert (list(some), list(others)) == (list(SYMBOLS[:5]), list(SYMBOLS[3:]))
    assert all(price.bid for price in (*some.values(), *others.values()))
    assert lines <= 3


def test_who_waits_for_a_quote_while_subscriptions_are_lost_gets_it_over_a_new_one(gateway):
    gateway.fault(Kind.MISSING_QUOTE, symbol=SYMBOLS[0])

    async def look():
        async with connected(gateway, 101) as one:
            quote = asyncio.create_task(one.get_multiple_market_prices(SYMBOLS[:1]))
            async with asyncio.timeout(5):
                while not await asyncio.to_thread(lines_of, gateway):
                    await asyncio.sleep(0.01)
            await asyncio.to_thread(gateway.do, gateway.gateway.regain_broker, 1101)
            return await quote

    assert asyncio.run(look())[SYMBOLS[0]].bid


def test_a_symbol_that_never_finds_a_line_says_so(gateway, monkeypatch):
    monkeypatch.setattr(quotes, "MOST_FOR_LINES_SECONDS", 0.5)

    async def starved():
        async with connected(gateway, 101) as one, connected(gateway, 102, 0.5) as two:
            await one.get_multiple_market_prices(SYMBOLS)
            return await two.get_multiple_market_prices(SYMBOLS)

    prices = asyncio.run(starved())
    without = [price for price in prices.values() if price.bid is None]
    assert len(without) == len(SYMBOLS) - 2
    assert all("market data lines" in price.message for price in without)
    asked_at_first, asked_again = len(SYMBOLS), gateway.gateway.asked["1"] - 2 * len(SYMBOLS)
    assert asked_again <= asked_at_first, "orders go over the same connection, at its pace"


def test_the_mark_of_a_position_outlives_its_line(gateway, monkeypatch):
    monkeypatch.setattr(quotes, "FRESH_SECONDS", 0.01)

    async def look():
        async with connected(gateway, 101) as one:
            await one.get_multiple_market_prices(["SYM0"])
            async with asyncio.timeout(5):
                while await asyncio.to_thread(lines_of, gateway):
                    await asyncio.sleep(0.01)
            return one._quotes.middle("SYM0")

    assert asyncio.run(look()) == 100


def test_the_gateway_is_asked_to_hold_back_what_is_too_much(gateway):
    async def look():
        async with connected(gateway, 101):
            return await asyncio.to_thread(gateway.do, lambda: gateway.gateway.sessions[101].is_paced)

    assert asyncio.run(look())
