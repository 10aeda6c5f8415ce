"""A connector in an installed package is found by its entry point and passes the contract suite."""

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
    """The connector of a package whose module and metadata are on the path, as after an installation."""
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
        self.connector.records.faults.add((what, symbol))

    def orders_at_the_broker(self, client_order_id):
        return sum(order.client_order_id == client_order_id for order in self.connector.records.orders)


class TestContract(ConnectorContract):
    @pytest.fixture
    def harness(self, toy):
        return ToyHarness(toy)


def test_installed_connector_is_a_choice_and_replaces_no_built_in_one(toy):
    assert issubclass(toy, BrokerClient)
    assert ("toy", "toy") in registry.broker_choices()
    assert registry.connector_class("simulated").name == "simulated"


@pytest.mark.django_db
def test_account_of_installed_connector_gets_its_own_slot(toy):
    from accounts.models import Account

    account = Account.objects.create(account_id="T1", broker="toy")
    assert (account.connection.broker, account.connection.environment) == ("toy", "paper")
