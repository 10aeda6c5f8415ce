"""Connectors by name, ours and those that others install."""

import pytest

from brokers import registry
from brokers.exceptions import BrokerError, UnknownBroker


@pytest.fixture
def _fresh():
    registry._paths.cache_clear()
    registry.connector_class.cache_clear()
    yield
    registry._paths.cache_clear()
    registry.connector_class.cache_clear()


def test_an_unknown_broker_is_an_error_that_lists_the_known_ones(_fresh):
    with pytest.raises(UnknownBroker) as caught:
        registry.connector_class("nobody")
    assert "ibkr, simulated" in caught.value.message


def test_every_error_has_a_code_of_its_own():
    def tree(error):
        return [error, *(leaf for child in error.__subclasses__() for leaf in tree(child))]

    codes = [error.code for error in tree(BrokerError)]
    assert len(codes) == len(set(codes))
