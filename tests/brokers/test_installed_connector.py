"""A connector of somebody else: a package with an entry point, found by its name, and held to the whole contract."""

import sys
from pathlib import Path

import pytest

from brokers import registry
from brokers.base import BrokerClient
from brokers.broker_types import ConnectionSettings
from tests.brokers.contract import ConnectorContract, Harness

PACKAGE = Path(__file__).parent / "toy_package"


@pytest.fixture
def toy(monkeypatch):
    """The package, as an installer leaves it: its module and its metadata on the path."""
    monkeypatch.syspath_prepend(PACKAGE)
    registry._paths.cache_clear()
    registry.connector_class.cache_clear()
    yield registry.connector_class("toy")
    sys.modules.pop("toy_broker", None)
    registry._paths.cache_clear()
    registry.connector_class.cache_clear()


class ToyHarness(Harness):
    def __init__(self, connector):
        self.connector = connector

    def client(self, price_cache=None):
        settings = ConnectionSettings(
            environment="paper", client_id=1, account_ids=(self.account_id,), request_timeout_seconds=0.1
        )
        return self.connector(settings, price_cache)

    def fault(self, what, symbol=""):
        self.connector.books.faults.add((what, symbol))

    def orders_at_the_broker(self, client_order_id):
        return sum(order.client_order_id == client_order_id for order in self.connector.books.orders)


class TestContract(ConnectorContract):
    @pytest.fixture
    def harness(self, toy):
        return ToyHarness(toy)


def test_it_can_be_chosen_for_an_account_and_cannot_take_one_of_our_names(toy):
    assert issubclass(toy, BrokerClient)
    assert ("toy", "toy") in registry.broker_choices()
    assert registry.connector_class("simulated").name == "simulated"


@pytest.mark.django_db
def test_an_account_of_it_gets_a_slot_of_its_own(toy):
    from accounts.models import Account

    account = Account.objects.create(account_id="T1", broker="toy")
    assert (account.connection.broker, account.connection.environment) == ("toy", "paper")
