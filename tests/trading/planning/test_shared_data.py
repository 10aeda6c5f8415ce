"""What the accounts of an event share: each thing is asked for once, and nothing is used that has grown old."""

import asyncio
import gc
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from brokers.broker_types import ContractPrice
from brokers.exceptions import BrokerSilent, MarketDataUnavailable
from trading.planning.shared_data import SharedQuotes


class Broker:
    """Quotes everything but what it refuses, and keeps what it was asked for."""

    def __init__(self, refused=()):
        self.asked = []
        self.refused = set(refused)
        self.trouble = None

    async def get_multiple_market_prices(self, symbols, *, use_cache):
        self.asked.append(list(symbols))
        if self.trouble is not None:
            raise self.trouble
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
        quotes.ask_for(["SPY"])
        return await asyncio.gather(quotes.of(["SPY", "IEF"]), quotes.of(["IEF", "SPY"]))

    one, two = asyncio.run(both())
    assert list(one) == ["SPY", "IEF"] and list(two) == ["IEF", "SPY"]
    assert broker.asked == [["SPY"], ["IEF"]]


def test_quotes_older_than_the_maximum_age_are_requested_again(broker, quotes, monkeypatch):
    monkeypatch.setattr("trading.planning.shared_data.SHARED_SECONDS", 0.0)

    async def one_after_the_other():
        first = await quotes.of(["SPY"])
        return first["SPY"].as_of, (await quotes.of(["SPY"]))["SPY"].as_of

    first, second = asyncio.run(one_after_the_other())
    assert first < second
    assert broker.asked == [["SPY"], ["SPY"]]


def test_quotes_refused_for_one_symbol_carry_the_brokers_message(broker, quotes):
    broker.refused = {"VTI"}

    async def in_pieces():
        quotes.ask_for(["VTI"])
        return await quotes.of(["SPY", "VTI"])

    found = asyncio.run(in_pieces())
    assert (found["SPY"].bid, found["SPY"].message) == (1, "")
    assert (found["VTI"].bid, found["VTI"].message) == (None, "Not subscribed.")


def test_quotes_refused_for_every_symbol_raise(broker, quotes):
    broker.refused = {"SPY", "VTI"}

    async def in_pieces():
        quotes.ask_for(["VTI"])
        await quotes.of(["SPY", "VTI"])

    with pytest.raises(MarketDataUnavailable, match="Not subscribed"):
        asyncio.run(in_pieces())


def test_quotes_that_fail_without_a_waiting_run_are_not_logged(broker, quotes):
    broker.trouble = BrokerSilent("It says nothing.")
    heard = []

    async def asked_for_in_vain():
        asyncio.get_running_loop().set_exception_handler(lambda _, context: heard.append(context["message"]))
        quotes.ask_for(["SPY"])
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        quotes._asked.clear()

    asyncio.run(asked_for_in_vain())
    gc.collect()
    assert heard == []
