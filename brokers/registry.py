"""The registered connectors: built-in ones by dotted path, imported on first use, and installed packages."""

from functools import cache
from importlib import import_module
from importlib.metadata import entry_points

from brokers.base import BrokerClient
from brokers.exceptions import UnknownBroker

ENTRY_POINT_GROUP = "rebalancer.brokers"

CONNECTORS = {
    "ibkr": "brokers.ibkr.client:InteractiveBrokers",
    "simulated": "brokers.simulated.client:SimulatedBroker",
}


@cache
def _paths() -> dict[str, str]:
    """Return dotted paths by name. An installed package cannot use the name of a built-in connector."""
    installed = {point.name: point.value for point in entry_points(group=ENTRY_POINT_GROUP)}
    return installed | CONNECTORS


def broker_names() -> tuple[str, ...]:
    """Return the names of all connectors, sorted."""
    return tuple(sorted(_paths()))


def broker_choices() -> list[tuple[str, str]]:
    """Return the choices of form fields; a callable, so that a new connector needs no migration."""
    return [(name, name) for name in broker_names()]


@cache
def connector_class(name: str) -> type[BrokerClient]:
    """Return the connector of that name.

    Raises:
        UnknownBroker: No connector of that name is registered; the message lists the registered ones.
    """
    path = _paths().get(name)
    if path is None:
        raise UnknownBroker(f"There is no broker {name!r}. Known brokers: {', '.join(broker_names())}.")
    module, _, attribute = path.partition(":")
    connector: type[BrokerClient] = getattr(import_module(module), attribute)
    return connector
