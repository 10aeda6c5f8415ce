"""Markers and fixtures of all tests: deterministic hypothesis, a market with constant prices, accounts made in one line.

pytest-socket allows connections to loopback only (`--allow-hosts` in pyproject.toml).
"""

import gc
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import settings as hypothesis_settings

from tests.support.allocations_server import AllocationsServer
from tests.support.databases import ON_POSTGRES
from tests.support.installations import django_db_setup, migrated, new_installation  # noqa: F401 - fixtures

hypothesis_settings.register_profile("steady", deadline=None, derandomize=True, max_examples=100)
hypothesis_settings.register_profile("fast", hypothesis_settings.get_profile("steady"), max_examples=20)
hypothesis_settings.load_profile("steady")  # `make test-fast` chooses the other


MARKED_BY_FIXTURE = {
    "db": {"db", "transactional_db"},
    "process": {"new_installation"},
    "browser": {"browser"},
}
"""Markers of pyproject.toml, and the fixtures whose tests get them."""
ON_ANY_DATABASE = (
    "tests/trading/listener/",
    "tests/accounts/test_yaml_text.py",
    "tests/security/test_canaries.py",
    "tests/e2e/test_browser.py",
    "tests/e2e/test_moving.py",
)
"""Tests that use a database which is not their subject: they run on SQLite only."""


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Iterator[None]:
    """Mark the tests by what they use. Run those first that start processes, because they take longest."""
    for item in items:
        names = set(getattr(item, "fixturenames", ()))
        for marker, fixtures in MARKED_BY_FIXTURE.items():
            if names & fixtures:
                item.add_marker(marker)
        if item.nodeid.startswith(ON_ANY_DATABASE):
            item.add_marker("one_database")
        if item.get_closest_marker("django_db"):
            item.add_marker("db")
        if ON_POSTGRES and item.get_closest_marker("one_database"):
            item.add_marker(pytest.mark.skip("The database is not its subject: it runs on SQLite only."))
    yield
    modules: dict[str, int] = {}

    def order(item: pytest.Item) -> tuple[int, int, int]:
        """The order is random, but for tests of one module that share an installation."""
        path, line, _ = item.location
        if item.get_closest_marker("process") is None:
            return 1, 0, 0
        return 0, modules.setdefault(path, len(modules)), line or 0

    items.sort(key=order)


def pytest_collection_finish() -> None:
    """Keep the garbage collector from going through all that was imported, again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def allocations_server():
    """An HTTP server on loopback that stands in for the allocations service."""
    with AllocationsServer() as server:
        yield server


@pytest.fixture
def allocations(allocations_server, settings):
    """The allocations service, without published targets."""
    allocations_server.reset()
    settings.ALLOCATIONS_BASE_URL = allocations_server.url
    return allocations_server


@pytest.fixture
def still_market(transactional_db):
    """Constant prices and immediate fills."""
    from accounts.models import RebalancePolicy
    from brokers.simulated.models import SimulatedInstrument, SimulatedMarket
    from brokers.simulated.universe import instruments

    # A transactional test empties all tables, including the rows that migrations created.
    for fields in instruments():
        SimulatedInstrument.objects.get_or_create(symbol=fields["symbol"], defaults=fields)
    RebalancePolicy.objects.get_or_create(is_default=True, defaults={"name": "default"})
    return SimulatedMarket.objects.update_or_create(
        pk=1,
        defaults={
            "frozen_at": datetime(2026, 11, 24, 15, tzinfo=UTC),
            "fill_latency_seconds": 0.0,
            "quote_latency_seconds": 0.0,
        },
    )[0]


@pytest.fixture
def make_account(still_market):
    """Make an account of the simulated broker, with cash and positions."""
    from brokers.simulated.matching_engine import open_account, set_position
    from tests.support.makers import simulated_account

    def make(account_id="U1", cash="100000", positions=(), targets=(("SPY", "0.6"), ("IEF", "0.4")), **fields):
        account = simulated_account(account_id, targets, **fields)
        open_account(account_id, cash_usd=Decimal(cash))
        for symbol, shares in dict(positions).items():
            set_position(account_id, symbol, Decimal(shares))
        return account

    return make
