"""Route each order update of the broker to the order that it belongs to."""

import asyncio
import logging
from dataclasses import dataclass, field

from brokers.base import BrokerClient
from brokers.broker_types import OrderUpdate
from brokers.exceptions import BrokerConnectionError

logger = logging.getLogger("rebalancer.trading")

BATCH_SECONDS = 0.002
"""Wait for updates that follow the first at once, in seconds: brokers report a fill in several messages."""


@dataclass
class _Inbox:
    """Updates of one order that were not taken yet."""

    updates: list[OrderUpdate] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)


class OrderUpdateRouter:
    """Reads the stream of updates of one connection, for all accounts of its slot."""

    def __init__(self, client: BrokerClient) -> None:
        self.client = client
        self._inboxes: dict[str, _Inbox] = {}
        self._error: BrokerConnectionError | None = None
        self._reader: asyncio.Task[None] | None = None
        self._opened_at = asyncio.get_running_loop().time()
        self.has_shown_orders = False
        """Whether the broker has shown an order of ours over this connection."""

    def open(self) -> None:
        """Start reading."""
        self._reader = asyncio.create_task(self._read(), name="order updates")

    async def close(self) -> None:
        """Stop reading."""
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)

    @property
    def is_broken(self) -> bool:
        """Whether the stream of updates has ended, or the client has lost its connection."""
        return self._error is not None or not self.client.is_connected

    @property
    def age_seconds(self) -> float:
        """The time since the connection was opened, in seconds."""
        return asyncio.get_running_loop().time() - self._opened_at

    def watch(self, client_order_id: str) -> None:
        """Collect the updates of an order from now on."""
        self._inboxes.setdefault(client_order_id, _Inbox())

    async def next_updates(self, client_order_id: str) -> list[OrderUpdate]:
        """Wait for the next updates of a watched order and return them, oldest first.

        A caller that is cancelled while it waits has taken nothing.

        Raises:
            BrokerConnectionError: the connection is lost and all updates before that were returned. Reconcile the
                order to find what happened since.
        """
        inbox = self._inboxes[client_order_id]
        while self._error is None:
            await inbox.changed.wait()
            await asyncio.sleep(BATCH_SECONDS)
            if inbox.updates:
                break
        updates, inbox.updates = inbox.updates, []
        inbox.changed.clear()
        if self._error is not None and not updates:
            raise self._error
        return updates

    async def _read(self) -> None:
        try:
            async for update in self.client.order_updates():
                if (inbox := self._inboxes.get(update.client_order_id)) is not None:
                    inbox.updates.append(update)
                    inbox.changed.set()
            self._fail(BrokerConnectionError("The broker's stream of order updates has ended."))
        except BrokerConnectionError as error:
            self._fail(error)
        except Exception as error:  # whatever the error is, no run may wait for ever
            logger.exception("The stream of order updates failed")
            self._fail(BrokerConnectionError(f"The stream of order updates failed: {type(error).__name__}."))

    def _fail(self, error: BrokerConnectionError) -> None:
        self._error = error
        for inbox in self._inboxes.values():
            inbox.changed.set()
