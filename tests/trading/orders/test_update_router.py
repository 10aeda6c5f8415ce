"""Each order update reaches the order that it belongs to, once, also when a waiting caller is cancelled."""

import asyncio
from decimal import Decimal

import pytest

from brokers.broker_types import ConnectionSettings, OrderResult, OrderStatus
from brokers.exceptions import BrokerConnectionError
from brokers.ibkr.client import InteractiveBrokers
from trading.orders.update_router import OrderUpdateRouter

WAIT_SECONDS = 5


class Client:
    """A broker client with nothing but a stream of updates. An exception in the queue ends the stream."""

    data_restarts = 0

    def __init__(self):
        self.updates = asyncio.Queue()

    async def order_updates(self):
        while not isinstance(update := await self.updates.get(), Exception):
            yield update
        raise update


def update(order="rb-1", filled=0):
    return OrderResult(
        account_id="U1",
        symbol="SPY",
        quantity=Decimal(5),
        filled_quantity=Decimal(filled),
        status=OrderStatus.WORKING,
        client_order_id=order,
    )


def with_router(scenario):
    """Run a scenario with a router that watches the order rb-1, and return its result."""

    async def run():
        client = Client()
        router = OrderUpdateRouter(client)
        router.watch("rb-1")
        router.open()
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                return await scenario(router, client.updates)
        finally:
            await router.close()

    return asyncio.run(run())


def filled(updates):
    return [update.filled_quantity for update in updates]


def test_updates_received_together_are_returned_together_without_other_orders():
    async def scenario(router, updates):
        for received in (update(filled=1), update("rb-2", filled=5), update(filled=2)):
            updates.put_nowait(received)
        return await router.next_updates("rb-1")

    assert filled(with_router(scenario)) == [1, 2]


@pytest.mark.parametrize("steps", range(6))
def test_next_updates_when_cancelled_takes_nothing(steps):
    async def scenario(router, updates):
        waiting = asyncio.ensure_future(router.next_updates("rb-1"))
        updates.put_nowait(update(filled=1))
        for _ in range(steps):  # cancels it at each point of its wait
            await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        return await router.next_updates("rb-1")

    assert filled(with_router(scenario)) == [1]


def test_updates_before_a_lost_connection_are_returned_before_the_error():
    """The error is raised for every later call, also for an order that is watched only then."""

    async def scenario(router, updates):
        updates.put_nowait(update(filled=1))
        updates.put_nowait(BrokerConnectionError("The connection is lost."))
        received = await router.next_updates("rb-1")
        router.watch("rb-3")
        for order in ("rb-1", "rb-1", "rb-3"):
            with pytest.raises(BrokerConnectionError, match="connection is lost"):
                await router.next_updates(order)
        return received, router.is_broken

    received, is_broken = with_router(scenario)
    assert filled(received) == [1]
    assert is_broken


def test_shown_orders_count_only_until_the_brokers_data_restart():
    async def scenario(router, _):
        before = router.has_shown_orders
        router.record_shown_orders()
        await asyncio.sleep(0.01)
        shown, age = router.has_shown_orders, router.data_age_seconds
        router.client.data_restarts += 1
        return before, shown, router.has_shown_orders, router.data_age_seconds < age

    assert with_router(scenario) == (False, True, False, True)


@pytest.mark.parametrize(("code", "restarts"), [(1100, 0), (1101, 1), (1102, 1), (2110, 0), (2104, 0)])
def test_gateway_that_was_restored_counts_as_a_restart_of_its_data(code, restarts):
    settings = ConnectionSettings(environment="paper", client_id=1001, account_ids=("DU1",))
    client = InteractiveBrokers(settings)
    client._on_error(-1, code, "message")
    assert client.data_restarts == restarts
