"""Quotes that the accounts of an event share: each is requested once, and old ones are requested again."""

import asyncio
import gc
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from brokers.broker_types import ContractPrice
from brokers.exceptions import BrokerSilent, MarketDataUnavailable
from trading.planning.shared_data import SharedQuotes


class Broker:
    """Quotes every symbol that it does not refuse, and records the requests."""

    def __init__(self, refused=()):
        self.requested = []
        self.refused = set(refused)
        self.error = None

    async def get_multiple_market_prices(self, symbols, *, use_cache):
        self.requested.append(list(symbols))
        if self.error is not None:
            raise self.error
        if set(symbols) <= self.refused:
            raise MarketDataUnavailable("Not subscribed.")
        return {
            symbol: ContractPrice(symbol=symbol, bid=Decimal(1), ask=Decimal(2), as_of=datetime.now(UTC))
            for symbol in symbols
            if symbol not in self.refused
        }


@pytest.fixture
def broker():
    return Broker()


@pytest.fixture
def quotes(broker):
    return SharedQuotes(broker, use_cache=False)


def test_quotes_of_concurrent_accounts_are_requested_once(broker, quotes):
    async def both():
        quotes.prefetch(["SPY"])
        return await asyncio.gather(quotes.of(["SPY", "IEF"]), quotes.of(["IEF", "SPY"]))

    one, two = asyncio.run(both())
    assert list(one) == ["SPY", "IEF"] and list(two) == ["IEF", "SPY"]
    assert broker.requested == [["SPY"], ["IEF"]]


def test_quotes_older_than_the_maximum_age_are_requested_again(broker):
    quotes = SharedQuotes(broker, use_cache=False, max_age_seconds=0.0)

    async def in_sequence():
        first = await quotes.of(["SPY"])
        return first["SPY"].as_of, (await quotes.of(["SPY"]))["SPY"].as_of

    first, second = asyncio.run(in_sequence())
    assert first < second
    assert broker.requested == [["SPY"], ["SPY"]]


def test_quotes_refused_for_one_symbol_carry_the_brokers_message(broker, quotes):
    broker.refused = {"VTI"}

    async def in_two_requests():
        quotes.prefetch(["VTI"])
        return await quotes.of(["SPY", "VTI"])

    found = asyncio.run(in_two_requests())
    assert (found["SPY"].bid, found["SPY"].message) == (1, "")
    assert (found["VTI"].bid, found["VTI"].message) == (None, "Not subscribed.")


def test_quotes_refused_for_every_symbol_raise(broker, quotes):
    broker.refused = {"SPY", "VTI"}

    async def in_two_requests():
        quotes.prefetch(["VTI"])
        await quotes.of(["SPY", "VTI"])

    with pytest.raises(MarketDataUnavailable, match="Not subscribed"):
        asyncio.run(in_two_requests())


def test_quotes_that_fail_without_a_waiting_run_are_not_logged(broker, quotes):
    broker.error = BrokerSilent("No answer.")
    logged = []

    async def request_without_waiting():
        asyncio.get_running_loop().set_exception_handler(lambda _, context: logged.append(context["message"]))
        quotes.prefetch(["SPY"])
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        quotes._requests.clear()

    asyncio.run(request_without_waiting())
    gc.collect()
    assert logged == []
