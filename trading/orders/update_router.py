"""Hands every update of the broker to the order that it is about."""

import asyncio
import logging

from brokers.base import BrokerClient
from brokers.broker_types import OrderUpdate
from brokers.exceptions import BrokerConnectionError

logger = logging.getLogger("rebalancer.trading")

BREATH_SECONDS = 0.002
"""A broker tells of a fill in several words, one right after the other: so long the others have time to come."""


class _Box:
    """What has come of one order and was not taken yet."""

    def __init__(self) -> None:
        self.updates: list[OrderUpdate] = []
        self.has_news = asyncio.Event()


class OrderUpdateRouter:
    """One per connection: reads its stream of updates, for all accounts of the slot."""

    def __init__(self, client: BrokerClient) -> None:
        self._client = client
        self._boxes: dict[str, _Box] = {}
        self._broken: BrokerConnectionError | None = None
        self._reader: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Starts reading."""
        self._reader = asyncio.create_task(self._read(), name="order updates")

    async def close(self) -> None:
        """Stops reading."""
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)

    @property
    def is_broken(self) -> bool:
        """Whether updates have stopped coming."""
        return self._broken is not None

    def watch(self, client_order_id: str) -> None:
        """Keeps the updates of an order from now on, until they are asked for."""
        self._boxes.setdefault(client_order_id, _Box())

    async def next_updates(self, client_order_id: str) -> list[OrderUpdate]:
        """The next update of an order that is watched, and those that have come with it, in their order.

        Who gives up waiting has taken nothing.

        Raises:
            BrokerConnectionError: the link is gone, and all that came before has been told; what happened since is
                found by reconciling.
        """
        box = self._boxes[client_order_id]
        while self._broken is None:
            await box.has_news.wait()
            await asyncio.sleep(BREATH_SECONDS)
            if box.updates:
                break
        updates, box.updates = box.updates, []
        box.has_news.clear()
        if self._broken is not None and not updates:
            raise self._broken
        return updates

    async def _read(self) -> None:
        try:
            async for update in self._client.order_updates():
                if (box := self._boxes.get(update.client_order_id)) is not None:
                    box.updates.append(update)
                    box.has_news.set()
            self._break(BrokerConnectionError("The broker's stream of order updates has ended."))
        except BrokerConnectionError as error:
            self._break(error)
        except Exception as error:  # the door of the stream: whatever it is, nobody must wait for ever
            logger.exception("The stream of order updates broke")
            self._break(BrokerConnectionError(f"The stream of order updates broke: {type(error).__name__}."))

    def _break(self, error: BrokerConnectionError) -> None:
        self._broken = error
        for box in self._boxes.values():
            box.has_news.set()
