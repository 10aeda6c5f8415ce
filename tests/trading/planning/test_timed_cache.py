"""The timed cache in the database: lifetime, scope and replacement of entries."""

from datetime import datetime, timedelta
from decimal import Decimal

import pytest
import time_machine
from asgiref.sync import async_to_sync
from django.utils import timezone

from brokers.broker_types import ContractFacts, ContractPrice
from brokers.exchange_calendar import NEW_YORK
from trading.planning.timed_cache import contract_cache, price_cache

pytestmark = pytest.mark.django_db

FACTS = {"SPY": ContractFacts(symbol="SPY", contract_id="1")}


def quote(symbol: str, age_seconds: float = 0, bid: int = 10) -> ContractPrice:
    return ContractPrice(
        symbol=symbol,
        bid=Decimal(bid),
        ask=Decimal(bid + 1),
        volume=Decimal(100),
        is_halted=False,
        as_of=timezone.now() - timedelta(seconds=age_seconds),
    )


def test_price_cache_returns_unexpired_quotes_only():
    cache = price_cache("ibkr", "paper", 30)
    fresh = quote("SPY", 5)
    async_to_sync(cache.put)({"SPY": fresh, "IEF": quote("IEF", 31)})
    assert async_to_sync(cache.get)(["SPY", "IEF", "GLD"]) == {"SPY": fresh}


def test_price_cache_put_replaces_the_entry():
    cache = price_cache("ibkr", "paper", 30)
    async_to_sync(cache.put)({"SPY": quote("SPY", 5)})
    newer = quote("SPY", bid=12)
    async_to_sync(cache.put)({"SPY": newer})
    assert async_to_sync(cache.get)(["SPY"]) == {"SPY": newer}


@pytest.mark.parametrize(("broker", "environment"), [("simulated", "paper"), ("ibkr", "live")])
def test_price_cache_of_another_scope_is_separate(broker, environment):
    async_to_sync(price_cache("ibkr", "paper", 30).put)({"SPY": quote("SPY")})
    assert async_to_sync(price_cache(broker, environment, 30).get)(["SPY"]) == {}


@pytest.mark.parametrize(
    ("stored", "read", "found"),
    [
        ("2026-11-24 10:00", "2026-11-24 21:59", True),
        ("2026-11-24 10:00", "2026-11-24 22:01", False),
        ("2026-11-24 23:59", "2026-11-25 00:01", False),
    ],
    ids=["same day", "after 12 hours", "after midnight in New York"],
)
def test_contract_cache_expires_after_12_hours_or_at_midnight(stored, read, found):
    def at(text):
        return time_machine.travel(datetime.fromisoformat(text).replace(tzinfo=NEW_YORK), tick=False)

    with at(stored):
        async_to_sync(contract_cache("ibkr").put)(FACTS)
    with at(read):
        assert async_to_sync(contract_cache("ibkr").get)(["SPY"]) == (FACTS if found else {})
