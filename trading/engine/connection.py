"""The one open link of a slot: made when first needed, made anew after it broke, shared by all runs."""

import asyncio
import logging

from asgiref.sync import sync_to_async
from django.conf import settings

from accounts.models import BrokerConnection
from accounts.policies import FrozenPolicy
from brokers.base import BrokerClient
from brokers.broker_types import ConnectionSettings
from brokers.registry import connector_class
from trading.common.fail_points import FailPoint, reached
from trading.engine.rebalance import SlotResources
from trading.journal.leases import Lease, record_client_id_in_use
from trading.orders.update_router import OrderUpdateRouter
from trading.planning.run_context import RunContext
from trading.planning.shared_data import SharedQuotes, SharedTargets
from trading.planning.timed_cache import contract_cache, price_cache

logger = logging.getLogger("rebalancer.trading")

QUOTE_SECONDS = 3.0
"""Quotes that are not whole by then are taken as they are: one mute symbol must not hold up an event."""


def read_slot(pk: int) -> tuple[BrokerConnection, tuple[str, ...]]:
    """The slot and the numbers of its accounts."""
    slot = BrokerConnection.objects.get(pk=pk)
    return slot, tuple(slot.accounts.order_by("account_id").values_list("account_id", flat=True))


def make_client(slot: BrokerConnection, account_ids: tuple[str, ...], policy: FrozenPolicy) -> BrokerClient:
    """The connector of the slot, not connected yet. Whoever connects it holds the slot's lease."""
    connector = connector_class(slot.broker)
    return connector(
        ConnectionSettings(
            environment=slot.environment,
            client_id=slot.client_id,
            account_ids=account_ids,
            connection_timeout_seconds=float(policy.connection_timeout_seconds),
            request_timeout_seconds=float(policy.request_timeout_seconds),
            quote_timeout_seconds=QUOTE_SECONDS,
            connector=connector.Settings.load(settings, policy),
        ),
        price_cache(slot.broker, slot.environment, float(policy.price_cache_ttl_seconds)),
        contract_cache(slot.broker),
    )


class SlotConnection:
    """Connects with the slot's own client id, always the same."""

    def __init__(self, lease: Lease) -> None:
        self._lease = lease
        self._lock = asyncio.Lock()
        self._client: BrokerClient | None = None
        self._desk: OrderUpdateRouter | None = None
        self._targets: dict[int, SharedTargets] = {}
        self._quotes: dict[tuple[int, bool], SharedQuotes] = {}

    async def ready(self, context: RunContext, event_id: int) -> SlotResources:
        """The link, open, with what the accounts of the event share.

        Raises:
            BrokerConnectionError: it cannot be opened now.
        """
        async with self._lock:
            if self._client is None or self._desk is None or self._desk.is_broken or not self._client.is_connected:
                await self._close()
                await self._open(context)
        if self._client is None or self._desk is None:
            raise AssertionError  # opened above, or an error was raised
        use_cache = not context.executes
        quotes = self._quotes.setdefault((event_id, use_cache), SharedQuotes(self._client, use_cache=use_cache))
        return SlotResources(self._client, self._desk, self.targets(context, event_id), quotes)

    def targets(self, context: RunContext, event_id: int) -> SharedTargets:
        """The targets that the accounts of the event share; no link is needed for them."""
        return self._targets.setdefault(event_id, SharedTargets(float(context.policy.allocation_timeout_seconds)))

    def forget_quotes(self, event_id: int) -> None:
        """Lets the next plan ask for quotes anew."""
        self._quotes = {key: quotes for key, quotes in self._quotes.items() if key[0] != event_id}

    async def drop(self) -> None:
        """Gives up a link that broke; the next `ready` opens another."""
        async with self._lock:
            if self._desk is not None and (self._desk.is_broken or not (self._client and self._client.is_connected)):
                await self._close()

    async def close(self) -> None:
        """Closes the link for good."""
        async with self._lock:
            await self._close()

    async def _open(self, context: RunContext) -> None:
        slot, account_ids = await sync_to_async(read_slot)(self._lease.connection_id)
        client = make_client(slot, account_ids, context.policy)
        await client.connect()
        # Kept at once: whatever happens next, it is closed with the lease.
        self._client, self._desk = client, OrderUpdateRouter(client)
        self._desk.open()
        logger.info("Connected to %s (%s) with client id %s", slot.broker, slot.environment, slot.client_id)
        if slot.in_use_since is not None:
            await sync_to_async(record_client_id_in_use)(self._lease, in_use=False)
        reached(FailPoint.CONNECTED)

    async def _close(self) -> None:
        if self._desk is not None:
            await self._desk.close()
        if self._client is not None:
            await self._client.disconnect()
        self._client = self._desk = None
        self._quotes.clear()  # they hold the old client
