"""Connectors by name, ours and those that others install."""

import sys

import pytest

from brokers import registry
from brokers.base import BrokerClient
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


def test_a_connector_of_somebody_else_is_found_by_its_entry_point(_fresh, tmp_path, monkeypatch):
    (tmp_path / "toy_broker.py").write_text(
        "from brokers.simulated.client import SimulatedBroker\nclass Toy(SimulatedBroker):\n    name = 'toy'\n"
    )
    info = tmp_path / "toy_broker-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-broker\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[rebalancer.brokers]\ntoy = toy_broker:Toy\nsimulated = toy_broker:Toy\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert "toy" in registry.broker_names()
    assert issubclass(registry.connector_class("toy"), BrokerClient)
    assert registry.connector_class("simulated").name == "simulated", "an entry point cannot take our own names"
    sys.modules.pop("toy_broker", None)


def test_every_error_has_a_code_of_its_own():
    def tree(error):
        return [error, *(leaf for child in error.__subclasses__() for leaf in tree(child))]

    codes = [error.code for error in tree(BrokerError)]
    assert len(codes) == len(set(codes))
