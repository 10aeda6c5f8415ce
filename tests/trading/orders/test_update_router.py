"""The desk: each update reaches the order that it is about, once, whatever happens to who waits for it."""

import asyncio
from decimal import Decimal

import pytest

from brokers.broker_types import OrderResult, OrderStatus
from brokers.exceptions import BrokerConnectionError
from trading.orders.update_router import OrderUpdateRouter

WAIT_SECONDS = 5


class Stream:
    """A broker of which only the stream of updates is asked for."""

    def __init__(self):
        self.updates = asyncio.Queue()

    async def order_updates(self):
        while not isinstance(update := await self.updates.get(), Exception):
            yield update
        raise update


def word(order="rb-1", filled=0):
    return OrderResult(
        account_id="U1",
        symbol="SPY",
        quantity=Decimal(5),
        filled_quantity=Decimal(filled),
        status=OrderStatus.WORKING,
        client_order_id=order,
    )


def at_the_desk(conversation):
    async def whole():
        stream = Stream()
        desk = OrderUpdateRouter(stream)
        desk.watch("rb-1")
        desk.open()
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                return await conversation(desk, stream.updates)
        finally:
            await desk.close()

    return asyncio.run(whole())


def test_updates_received_together_are_returned_together_without_other_orders():
    async def conversation(desk, updates):
        for update in (word(filled=1), word("rb-2", filled=5), word(filled=2)):
            updates.put_nowait(update)
        return await desk.next_updates("rb-1")

    assert [update.filled_quantity for update in at_the_desk(conversation)] == [1, 2]


@pytest.mark.parametrize("moments", range(6))
def test_next_updates_when_cancelled_takes_nothing(moments):
    async def conversation(desk, updates):
        waiting = asyncio.ensure_future(desk.next_updates("rb-1"))
        updates.put_nowait(word(filled=1))
        for _ in range(moments):  # wherever it is in its waiting
            await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        return await desk.next_updates("rb-1")

    assert [update.filled_quantity for update in at_the_desk(conversation)] == [1]


def test_updates_before_a_lost_connection_are_returned_before_the_error():
    async def conversation(desk, updates):
        updates.put_nowait(word(filled=1))
        updates.put_nowait(BrokerConnectionError("The link is gone."))
        told = await desk.next_updates("rb-1")
        desk.watch("rb-3")
        for order in ("rb-1", "rb-1", "rb-3"):
            with pytest.raises(BrokerConnectionError, match="The link is gone"):
                await desk.next_updates(order)
        return told, desk.is_broken

    told, is_broken = at_the_desk(conversation)
    assert [update.filled_quantity for update in told] == [1]
    assert is_broken
