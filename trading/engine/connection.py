"""The one open connection of a slot: opened on first use, reopened after a failure, shared by all its runs."""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass

from asgiref.sync import sync_to_async
from django.conf import settings

from accounts.models import BrokerConnection
from accounts.policies import FrozenPolicy
from brokers.base import BrokerClient
from brokers.broker_types import ConnectionSettings
from brokers.registry import connector_class
from trading.common.fail_points import FailPoint, reached
from trading.common.timings import DEFAULT_TIMINGS, Timings
from trading.journal.leases import Lease, record_client_id_in_use
from trading.models import contract_choices
from trading.orders.update_router import OrderUpdateRouter
from trading.planning.run_context import RunContext
from trading.planning.shared_data import SharedQuotes, SharedTargets
from trading.planning.timed_cache import contract_cache, price_cache

logger = logging.getLogger("rebalancer.trading")


def read_slot(pk: int) -> tuple[BrokerConnection, tuple[str, ...], dict[str, str]]:
    """Return the slot, the broker's ids of its accounts, and the contracts that users have chosen, by symbol."""
    slot = BrokerConnection.objects.get(pk=pk)
    account_ids = tuple(slot.accounts.order_by("account_id").values_list("account_id", flat=True))
    return slot, account_ids, contract_choices(slot.broker)


def make_client(
    slot: BrokerConnection,
    account_ids: tuple[str, ...],
    choices: Mapping[str, str],
    policy: FrozenPolicy,
    quote_timeout_seconds: float = DEFAULT_TIMINGS.quotes_seconds,
) -> BrokerClient:
    """Return the slot's client, not connected yet. Hold the slot's lease before you connect it."""
    connector = connector_class(slot.broker)
    return connector(
        ConnectionSettings(
            environment=slot.environment,
            client_id=slot.client_id,
            account_ids=account_ids,
            contract_choices=choices,
            connection_timeout_seconds=float(policy.connection_timeout_seconds),
            request_timeout_seconds=float(policy.request_timeout_seconds),
            quote_timeout_seconds=quote_timeout_seconds,
            connector=connector.Settings.load(settings, policy),
        ),
        price_cache(slot.broker, slot.environment, float(policy.price_cache_ttl_seconds)),
        contract_cache(slot.broker),
    )


@dataclass(frozen=True)
class SlotResources:
    """The open connection of a slot, and the data that the accounts of an event share.

    The holder of `turn` may send the next order.
    """

    client: BrokerClient
    turn: asyncio.Lock
    updates: OrderUpdateRouter
    targets: SharedTargets
    quotes: SharedQuotes


class SlotConnection:
    """Opens the slot's connection, always with the slot's own client id."""

    def __init__(self, lease: Lease, timings: Timings = DEFAULT_TIMINGS) -> None:
        self._lease = lease
        self._timings = timings
        self._lock = asyncio.Lock()
        self._turn = asyncio.Lock()
        self._updates: OrderUpdateRouter | None = None
        self._targets: dict[int, SharedTargets] = {}
        self._quotes: dict[tuple[int, bool], SharedQuotes] = {}

    async def acquire(self, context: RunContext, event_id: int) -> SlotResources:
        """Open the connection if necessary, and return it with the data that the accounts of the event share.

        Raises:
            BrokerConnectionError: it cannot be opened now.
        """
        async with self._lock:
            updates = self._updates
            if updates is None or updates.is_broken:
                await self._close()
                updates = await self._open(context)
            if context.account_id not in updates.client.settings.account_ids:
                # Assigned to the slot since the connection was opened, which the slot's other runs are using.
                updates.client.add_account(context.account_id)
        use_cache = not context.executes
        quotes = self._quotes.setdefault(
            (event_id, use_cache),
            SharedQuotes(updates.client, use_cache=use_cache, max_age_seconds=self._timings.shared_quotes_seconds),
        )
        return SlotResources(updates.client, self._turn, updates, self.targets(context, event_id), quotes)

    def targets(self, context: RunContext, event_id: int) -> SharedTargets:
        """Return the targets that the accounts of the event share. They need no open connection."""
        return self._targets.setdefault(event_id, SharedTargets(float(context.policy.allocation_timeout_seconds)))

    def discard_quotes(self, event_id: int) -> None:
        """Discard the event's quotes, so that the next plan requests new ones."""
        self._quotes = {key: quotes for key, quotes in self._quotes.items() if key[0] != event_id}

    async def close_if_broken(self) -> None:
        """Close a connection that has failed. The next `acquire` opens another."""
        async with self._lock:
            if self._updates is not None and self._updates.is_broken:
                await self._close()

    async def close(self) -> None:
        """Close the connection."""
        async with self._lock:
            await self._close()

    async def _open(self, context: RunContext) -> OrderUpdateRouter:
        slot, account_ids, choices = await sync_to_async(read_slot)(self._lease.connection_id)
        client = make_client(slot, account_ids, choices, context.policy, self._timings.quotes_seconds)
        await client.connect()
        # Stored at once, so that it is closed with the lease whatever fails next.
        self._updates = updates = OrderUpdateRouter(client)
        updates.open()
        logger.info("Connected to %s (%s) with client id %s", slot.broker, slot.environment, slot.client_id)
        if slot.in_use_since is not None:
            await sync_to_async(record_client_id_in_use)(self._lease, in_use=False)
        reached(FailPoint.CONNECTED)
        return updates

    async def _close(self) -> None:
        if self._updates is not None:
            await self._updates.close()
            await self._updates.client.disconnect()
        self._updates = None
        self._quotes.clear()  # they use the closed client
