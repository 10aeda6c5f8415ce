"""Read every account once after each close: its value for the history, its positions for the standing."""

import asyncio
import logging
from datetime import datetime, timedelta

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import connections
from django.db.models import Q, QuerySet
from django.utils import timezone

from accounts.models import Account
from accounts.policies import resolve_policy
from brokers.base import BrokerClient
from brokers.exceptions import BrokerError
from trading.engine.connection import make_client, read_slot
from trading.engine.lease_heartbeat import slot_lease
from trading.errors import SlotBusy
from trading.journal.account_status import store_value
from trading.journal.leases import Lease, renew_lease
from trading.market_calendar import MarketCalendar, market_calendar
from trading.planning.standing_updates import store_look
from trading.planning.total_value import record_total
from trading.queue.wake import wake_valuation

logger = logging.getLogger("rebalancer.trading")

LONGEST_CLOSURE = timedelta(days=14)
"""Time before now in which the latest close is searched."""


def last_close(calendar: MarketCalendar, now: datetime) -> datetime:
    """Return the latest close of a session that has ended."""
    session = calendar.session_after(timezone.localdate(now) - LONGEST_CLOSURE)
    closed = session.opens_at
    while session.closes_at <= now:
        closed = session.closes_at
        session = calendar.session_after(session.day)
    return closed


def due_accounts(since: datetime) -> QuerySet[Account]:
    """Return enabled accounts of this environment that were last read before an instant, or never with positions."""
    not_read_since = Q(standing__snapshot__isnull=True) | Q(standing__as_of__lt=since)
    return Account.objects.filter(not_read_since, enabled=True, type=settings.TRADING_MODE)


def wake_due_slots(now: datetime) -> int:
    """Queue a valuation for each slot with accounts not read since the latest close; return the number of slots."""
    due = due_accounts(last_close(market_calendar(), now)).values_list("connection_id", flat=True)
    slots = sorted(set(due))
    for connection_id in slots:
        wake_valuation(connection_id)
    record_total()
    return len(slots)


def value_slot(connection_id: int) -> int:
    """Read the due values of the slot's accounts, unless its runs use it; return the number of values stored."""
    try:
        with slot_lease(connection_id, "values") as lease:
            return asyncio.run(_read_values(lease))
    except SlotBusy:
        return 0
    except BrokerError as error:
        logger.warning("Values of slot %s could not be read: %s", connection_id, error.message)
        return 0


async def _read_values(lease: Lease) -> int:
    try:
        since = last_close(market_calendar(), timezone.now())
        due = due_accounts(since).filter(connection_id=lease.connection_id).select_related("policy")
        accounts = [account async for account in due.order_by("account_id")]
        if not accounts:
            return 0
        policy = await sync_to_async(resolve_policy)(accounts[0])
        client = make_client(*await sync_to_async(read_slot)(lease.connection_id), policy)
        await client.connect()
        try:
            stored = [await _read_value(client, lease, account) for account in accounts]
        finally:
            await client.disconnect()
        await sync_to_async(record_total)()
        return sum(stored)
    finally:
        await sync_to_async(connections.close_all)()


async def _read_value(client: BrokerClient, lease: Lease, account: Account) -> bool:
    try:
        await read_account(client, lease, account)
    except BrokerError as error:  # the values of the other accounts are still read
        logger.warning("The value of %s could not be read: %s", account.account_id, error.message)
        return False
    return True


async def read_account(client: BrokerClient, lease: Lease, account: Account) -> None:
    """Read an account over an open connection; store its value, its positions and its standing.

    Raises:
        BrokerError: the broker does not report the account.
        LeaseLost: another process has the slot.
    """
    await sync_to_async(renew_lease)(lease)
    snapshot = await client.get_account_snapshot(account.account_id)
    await sync_to_async(store_value)(lease, account.pk, snapshot)
    await sync_to_async(store_look)(account.pk, snapshot)
