"""The registry of connectors and their settings."""

from types import SimpleNamespace

import pytest

from brokers import registry
from brokers.broker_types import ConnectorSettings
from brokers.exceptions import BrokerError, UnknownBroker
from brokers.ibkr.settings import GatewaySettings


@pytest.fixture
def _fresh():
    registry._paths.cache_clear()
    registry.connector_class.cache_clear()
    yield
    registry._paths.cache_clear()
    registry.connector_class.cache_clear()


def test_connector_class_unknown_lists_registered_names(_fresh):
    with pytest.raises(UnknownBroker) as caught:
        registry.connector_class("nobody")
    assert "ibkr, simulated" in caught.value.message


def test_broker_errors_have_unique_codes():
    def tree(error):
        return [error, *(leaf for child in error.__subclasses__() for leaf in tree(child))]

    # A class without a code of its own has that of its parent, on purpose.
    codes = [error.code for error in tree(BrokerError) if error.code != getattr(error.__base__, "code", "")]
    assert len(codes) == len(set(codes))


def test_every_connector_has_its_settings_model(_fresh):
    assert {name: registry.connector_class(name).Settings for name in registry.broker_names()} == {
        "ibkr": GatewaySettings,
        "simulated": ConnectorSettings,
    }


def test_connector_settings_load_from_policy_then_installation_then_defaults():
    installation = SimpleNamespace(IB_HOST="gateway", IB_PORT=4003, IB_MARKET_DATA_TYPE=2)
    policy = SimpleNamespace(market_data_type=3, quote_max_age_seconds=10)
    assert GatewaySettings.load(installation, policy) == GatewaySettings(
        host="gateway", port=4003, market_data_type=3, allow_delayed_quotes=False
    )


def test_connector_settings_without_prefix_do_not_read_the_installation():
    class Settings(ConnectorSettings):
        debug: bool = False

    assert Settings.load(SimpleNamespace(DEBUG=True), SimpleNamespace()).debug is False
