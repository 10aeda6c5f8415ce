"""Opening a connection."""

import asyncio

import pytest

from brokers.ibkr.client import InteractiveBrokers
from tests.brokers.ibkr.conftest import connection_settings


def test_connect_cancelled_while_waiting_raises_cancelled_error(gateway):
    """A cancelled caller does not get the refusal that closing the socket looks like."""
    gateway.do(setattr, gateway.gateway, "muted", True)
    client = InteractiveBrokers(connection_settings(gateway))

    async def cancel():
        connecting = asyncio.create_task(client.connect())
        async with asyncio.timeout(5):
            while not await asyncio.to_thread(gateway.do, lambda: len(gateway.gateway.connections)):
                await asyncio.sleep(0.01)
        connecting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await connecting

    asyncio.run(cancel())
    assert not client.is_connected
