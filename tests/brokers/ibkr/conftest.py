"""A gateway on loopback with one account."""

from collections.abc import Iterator

import pytest

from brokers.broker_types import ConnectionSettings
from brokers.ibkr.settings import GatewaySettings
from tests.support.ibkr_gateway import AccountRecords, GatewayThread

ACCOUNT = "DU1000001"


@pytest.fixture
def records() -> AccountRecords:
    """100,000 USD and 10 SPY, and some instruments to trade."""
    records = AccountRecords()
    for symbol in ("SPY", "IEF", "GLD"):
        records.add_instrument(symbol)
    records.add_account(ACCOUNT, cash="100000", positions={"SPY": "10"})
    return records


@pytest.fixture
def gateway(records: AccountRecords) -> Iterator[GatewayThread]:
    """The gateway of these records, without delays."""
    with GatewayThread(records) as gateway:
        yield gateway


def connection_settings(gateway: GatewayThread, client_id: int = 101, **fields) -> ConnectionSettings:
    """Return settings of a connection to the gateway for the account."""
    return ConnectionSettings(
        environment="paper",
        client_id=client_id,
        account_ids=(ACCOUNT,),
        connector=GatewaySettings(port=gateway.port),
        **fields,
    )
