import pytest

from tests.support.ably_server import AblyServer
from tests.support.listening import Listening, eventually
from tests.support.makers import policy, simulated_account, strategy
from trading.models import StrategyEvent

REBALANCE = '{"exec":"rebalance"}'


@pytest.fixture
def ably():
    """An Ably service on loopback."""
    with AblyServer() as server:
        yield server


@pytest.fixture
def blend(transactional_db):
    """A strategy with one account."""
    return simulated_account("U1", {}, strategy=strategy("blend", {"SPY": "1"}), policy=policy()).strategy


@pytest.fixture
def listening(ably, blend):
    """A listener that is attached to `blend`."""
    with Listening(ably) as listener:
        yield listener.until_attached("blend")


@pytest.fixture
def inbox():
    """A function that returns the stored events; with ids, it waits until exactly those are stored, each once."""

    def ids(*wanted, channel="blend"):
        stored = StrategyEvent.objects.filter(source="ably", channel=channel).order_by("id")

        def there():
            return sorted(stored.values_list("message_id", flat=True)) == sorted(wanted)

        if wanted:
            eventually(there, f"{len(wanted)} events in the inbox ({stored.count()} now)")
        return list(stored)

    return ids
