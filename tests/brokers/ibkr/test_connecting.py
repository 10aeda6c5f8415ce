"""Opening a connection: it ends when it is told to, whatever it was waiting for."""

import asyncio

import pytest

from brokers.broker_types import ConnectionSettings
from brokers.ibkr.client import InteractiveBrokers
from tests.brokers.ibkr.conftest import ACCOUNT


def test_who_gives_up_connecting_is_not_told_that_the_gateway_refused(gateway):
    gateway.do(setattr, gateway.gateway, "muted", True)
    client = InteractiveBrokers(
        ConnectionSettings(environment="paper", client_id=101, account_ids=(ACCOUNT,), port=gateway.port)
    )

    async def given_up():
        connecting = asyncio.create_task(client.connect())
        async with asyncio.timeout(5):
            while not await asyncio.to_thread(gateway.do, lambda: len(gateway.gateway._connections)):
                await asyncio.sleep(0.01)
        connecting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await connecting

    asyncio.run(given_up())
    assert not client.is_connected
