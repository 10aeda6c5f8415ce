"""Quotes and market data lines: all clients of a login share its lines, and one client must not block another."""

import asyncio
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from brokers.ibkr.client import InteractiveBrokers
from brokers.ibkr.limits import Limits
from tests.brokers.ibkr.conftest import ACCOUNT, connection_settings
from tests.support.ibkr_gateway import AccountRecords, GatewayThread, Kind

SYMBOLS = tuple(f"SYM{number}" for number in range(8))
LINES = 10


@pytest.fixture
def records():
    records = AccountRecords()
    for symbol in SYMBOLS:
        records.add_instrument(symbol)
    records.add_account(ACCOUNT, cash="100000", positions={})
    return records


@pytest.fixture
def gateway(records):
    with GatewayThread(records, market_data_lines=LINES) as gateway:
        yield gateway


@asynccontextmanager
async def connected(gateway, client_id, limits=InteractiveBrokers.limits, timeout_seconds=10.0, price_cache=None):
    connector = type("Connector", (InteractiveBrokers,), {"limits": limits})
    client = connector(connection_settings(gateway, client_id, quote_timeout_seconds=timeout_seconds), price_cache)
    await client.connect()
    try:
        yield client
    finally:
        await client.disconnect()


class MemoryCache:
    """A price cache in memory, shared by clients; `age` makes its quotes older than they are."""

    def __init__(self, age=timedelta(0)):
        self.prices = {}
        self.age = age

    async def get(self, symbols):
        return {symbol: self.prices[symbol] for symbol in symbols if symbol in self.prices}

    async def put(self, prices):
        for symbol, price in prices.items():
            self.prices[symbol] = price.model_copy(update={"as_of": price.as_of - self.age})


def lines_of(gateway):
    return gateway.do(lambda: sum(len(session.lines) for session in gateway.gateway.sessions.values()))


async def until_lines(gateway, condition):
    async with asyncio.timeout(5):
        while not condition(await asyncio.to_thread(lines_of, gateway)):
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("fields", "volume", "is_halted"),
    [
        ({}, None, None),
        ({"volume": 1200, "halted": 0}, 1200, False),
        ({"volume": 0, "halted": 1}, 0, True),
        ({"halted": 2}, None, True),
        ({"halted": -1}, None, None),
    ],
    ids=["not reported", "traded", "general halt", "volatility halt", "status not available"],
)
@pytest.mark.parametrize("delayed", [False, True])
def test_quote_has_reported_volume_and_trading_status(gateway, records, fields, volume, is_halted, delayed):
    records.add_instrument("OTHER", **fields)
    if delayed:
        gateway.fault(Kind.DELAYED_QUOTE)

    async def quote():
        async with connected(gateway, 101) as client:
            return await client.get_multiple_market_prices(["OTHER"])

    price = asyncio.run(quote())["OTHER"]
    assert (price.volume, price.is_halted) == (volume, is_halted)


def test_quote_without_line_is_requested_after_another_client_releases_one(gateway):
    limits = Limits(quote_reuse_seconds=0.05, line_retry_seconds=0.05)

    async def both():
        async with connected(gateway, 101, limits) as one, connected(gateway, 102, limits) as two:
            first = await one.get_multiple_market_prices(SYMBOLS)
            return first, await two.get_multiple_market_prices(SYMBOLS)

    first, second = asyncio.run(both())
    assert set(first) == set(second) == set(SYMBOLS)
    assert all(price.bid for price in second.values())


def test_quote_without_line_is_copied_from_another_client(gateway, records):
    for symbol in SYMBOLS:
        records.stock(symbol).volume = 500

    async def both():
        cache = MemoryCache()
        async with connected(gateway, 101, price_cache=cache) as one, connected(gateway, 102, price_cache=cache) as two:
            first = await one.get_multiple_market_prices(SYMBOLS)
            second = await two.get_multiple_market_prices(SYMBOLS, use_cache=False)
            return first, second, lines_of(gateway)

    first, second, lines = asyncio.run(both())
    assert {symbol: (price.bid, price.ask, price.volume) for symbol, price in second.items()} == {
        symbol: (price.bid, price.ask, price.volume) for symbol, price in first.items()
    }
    assert lines == LINES


def test_quote_of_another_client_that_is_too_old_is_not_copied(gateway):
    async def both():
        cache = MemoryCache(timedelta(seconds=3))
        async with (
            connected(gateway, 101, price_cache=cache) as one,
            connected(gateway, 102, Limits(max_line_wait_seconds=0.5), 0.5, price_cache=cache) as two,
        ):
            await one.get_multiple_market_prices(SYMBOLS)
            return await two.get_multiple_market_prices(SYMBOLS, use_cache=False)

    prices = asyncio.run(both())
    assert sum(price.bid is None for price in prices.values()) == len(SYMBOLS) - 2


def test_quote_requested_concurrently_uses_one_line(gateway):
    limits = Limits(quote_reuse_seconds=0.05, line_retry_seconds=0.05)

    async def three():
        async with connected(gateway, 101, limits) as one, connected(gateway, 102, limits) as two:
            await one.get_multiple_market_prices(SYMBOLS)
            found = await asyncio.gather(*(two.get_multiple_market_prices(SYMBOLS) for _ in range(3)))
            return [set(prices) for prices in found], lines_of(gateway)

    found, lines = asyncio.run(three())
    assert found == [set(SYMBOLS)] * 3
    assert lines <= len(SYMBOLS)


def test_quote_that_never_arrives_does_not_block_other_symbols(gateway):
    limits = Limits(quote_reuse_seconds=0.05, max_line_wait_seconds=2.0)

    async def both():
        async with connected(gateway, 101, limits) as one, connected(gateway, 102, limits, 1.0) as two:
            await one.get_multiple_market_prices(SYMBOLS)
            await asyncio.to_thread(gateway.fault, Kind.MISSING_QUOTE, symbol=SYMBOLS[0])
            return await two.get_multiple_market_prices(SYMBOLS)

    prices = asyncio.run(both())
    assert [symbol for symbol, price in prices.items() if price.bid] == list(SYMBOLS[1:])


def test_quotes_above_client_limit_are_requested_in_turn(gateway):
    async def two_requests():
        async with connected(gateway, 101, Limits(max_market_data_lines=3)) as client:
            requests = (client.get_multiple_market_prices(part) for part in (SYMBOLS[:5], SYMBOLS[3:]))
            return await asyncio.gather(*requests), await asyncio.to_thread(lines_of, gateway)

    (some, others), lines = asyncio.run(two_requests())
    assert (list(some), list(others)) == (list(SYMBOLS[:5]), list(SYMBOLS[3:]))
    assert all(price.bid for price in (*some.values(), *others.values()))
    assert lines <= 3


def test_quote_pending_when_subscriptions_are_lost_is_requested_again(gateway):
    gateway.fault(Kind.MISSING_QUOTE, symbol=SYMBOLS[0])

    async def lose():
        async with connected(gateway, 101) as client:
            quote = asyncio.create_task(client.get_multiple_market_prices(SYMBOLS[:1]))
            await until_lines(gateway, bool)
            await asyncio.to_thread(gateway.do, gateway.gateway.restore_broker, 1101)
            return await quote

    assert asyncio.run(lose())[SYMBOLS[0]].bid


def test_quote_that_never_gets_a_line_has_the_reason(gateway):
    limits = Limits(max_line_wait_seconds=0.5)

    async def starve():
        async with connected(gateway, 101, limits) as one, connected(gateway, 102, limits, 0.5) as two:
            await one.get_multiple_market_prices(SYMBOLS)
            return await two.get_multiple_market_prices(SYMBOLS)

    prices = asyncio.run(starve())
    without = [price for price in prices.values() if price.bid is None]
    assert len(without) == len(SYMBOLS) - 2
    assert all(price.message.startswith("IBKR 101: ") for price in without)
    first_requests, retries = len(SYMBOLS), gateway.gateway.requests["1"] - 2 * len(SYMBOLS)
    assert retries <= first_requests, "orders share the connection and its message rate"


def test_mark_of_position_remains_after_its_line_is_released(gateway):
    async def mark():
        async with connected(gateway, 101, Limits(quote_reuse_seconds=0.01)) as client:
            await client.get_multiple_market_prices(["SYM0"])
            await until_lines(gateway, lambda lines: not lines)
            return client._quotes.mid("SYM0")

    assert asyncio.run(mark()) == 100


def test_connect_requests_pacing(gateway):
    async def is_paced():
        async with connected(gateway, 101):
            return await asyncio.to_thread(gateway.do, lambda: gateway.gateway.sessions[101].is_paced)

    assert asyncio.run(is_paced())
