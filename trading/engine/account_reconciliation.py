"""Compare accounts with their broker outside of runs: after a restore, for orders without a row, for lost orders."""

import asyncio
import logging
from collections.abc import Sequence
from datetime import datetime, timedelta

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import connections
from django.db.models import Q
from django.utils import timezone

from accounts.models import Account
from accounts.policies import resolve_policy
from brokers.base import BrokerClient
from brokers.exceptions import BrokerError
from trading.engine.connection import make_client, read_slot
from trading.engine.lease_heartbeat import lease_heartbeat, slot_lease
from trading.errors import LeaseLost, SlotBusy
from trading.journal import unrecorded
from trading.journal.batch_writer import BatchWriter
from trading.journal.installation import awaits_reconciliation
from trading.journal.leases import Lease
from trading.journal.orders import OrderView
from trading.journal.run_journal import RunJournal
from trading.market_calendar import market_calendar
from trading.models import OrderState
from trading.models.orders import ABSENT, MANUAL_EXECUTION_PREFIX
from trading.orders.reconciliation import Reconciler, start_of_day
from trading.orders.update_router import OrderUpdateRouter

logger = logging.getLogger("rebalancer.trading")

WINDOW = timedelta(days=7)
"""Time from which executions are read, as far as the broker still reports them."""


def accounts_to_reconcile() -> list[Account]:
    """Return the accounts with orders without a row; after a restore, all enabled accounts of this environment."""
    accounts = Account.objects.filter(type=settings.TRADING_MODE).order_by("account_id")
    found = Q(unrecorded_orders__resolved_at=None, unrecorded_orders__isnull=False)
    wanted = Q(enabled=True) | found if awaits_reconciliation() else found
    return list(accounts.filter(wanted).select_related("policy", "strategy").distinct())


def reconcile_account(account: Account) -> list[OrderView]:
    """Record the account's orders and executions at the broker that have no row here. Submits nothing.

    Returns:
        The recorded orders; some may be open.

    Raises:
        BrokerError: the broker cannot be reached now.
        SlotBusy: another process uses the slot; try again in a moment.
    """
    with slot_lease(account.connection_id, "reconcile") as lease:
        return asyncio.run(_reconcile(account, lease, timezone.now() - WINDOW, record=True))


def watch_lost_orders() -> int:
    """Look for missing orders of today, and executions of those with manual fills; return the number of accounts."""
    today = start_of_day(timezone.now())
    rejected = Q(orders__state=OrderState.REJECTED, orders__message__startswith=ABSENT)
    missing = Q(orders__state=OrderState.LOST) | rejected
    doubtful = missing | Q(orders__fills__execution_id__startswith=MANUAL_EXECUTION_PREFIX)
    watched = Account.objects.filter(doubtful, orders__submitted_at__gte=today)
    accounts = watched.exclude(runs__state="running").distinct().select_related("policy", "strategy")
    compared = 0
    for account in accounts.order_by("account_id"):
        try:
            with slot_lease(account.connection_id, "watch lost orders") as lease:
                asyncio.run(_reconcile(account, lease, today, record=False))
            compared += 1
        except (BrokerError, LeaseLost, SlotBusy) as error:
            logger.warning("Orders of %s could not be looked up: %s", account.account_id, error)
    return compared


async def _reconcile(account: Account, lease: Lease, since: datetime, *, record: bool) -> list[OrderView]:
    try:
        policy = await sync_to_async(resolve_policy)(account)
        client = make_client(*await sync_to_async(read_slot)(lease.connection_id), policy)
        async with lease_heartbeat(lease):
            try:
                await client.connect()
                # Only orders are written, and no run.
                journal = RunJournal(BatchWriter(lease), run_pk=0)
                updates = OrderUpdateRouter(client)
                reconciler = Reconciler(client, updates, journal, account.account_id, settings.ORDER_SETTLE_SECONDS)
                names = (await reconciler.compare(since)).unrecorded
                if not record:
                    return []
                left = {*names, *await sync_to_async(unrecorded.unresolved)(account.pk)}
                return await _record(account, client, journal, sorted(left), since)
            finally:
                await client.disconnect()
    finally:
        await sync_to_async(connections.close_all)()


async def _record(
    account: Account, client: BrokerClient, journal: RunJournal, names: Sequence[str], since: datetime
) -> list[OrderView]:
    open_orders = {order.client_order_id: order for order in await client.get_open_orders(account.account_id)}
    recorded = []
    for name in names:
        order = await journal.write(
            unrecorded.record_order,
            account.pk,
            name,
            open_orders.get(name),
            await client.find_order(account.account_id, name),
            await client.get_executions(account.account_id, since=since, client_order_id=name),
            market_calendar(),
        )
        recorded += [order] if order is not None else []
    return recorded
