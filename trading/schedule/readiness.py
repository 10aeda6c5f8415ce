"""The readiness probe: whether scheduled accounts could start at the open, said while a person can still act."""

import asyncio
import os
import socket
from collections.abc import Sequence
from datetime import datetime, timedelta

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import connections
from django.utils import timezone

from accounts.models import Account
from accounts.policies import resolve_policy
from brokers.base import BrokerClient
from brokers.broker_types import PriceKind
from brokers.exceptions import BrokerError
from brokers.exchange_calendar import NEW_YORK
from trading.engine.connection import make_client, read_slot
from trading.errors import TradingError
from trading.guards.account import check_guards
from trading.journal import schedule
from trading.journal.leases import Lease, claim_lease, release_lease
from trading.journal.outbox import notify_operators
from trading.market_calendar import market_calendar
from trading.models import NotificationKind, ScheduledJob, ScheduleEntry, ScheduleState
from trading.planning.shared_data import SharedTargets
from trading.queue.wake import wake_readiness

MINUTES_BEFORE = (30, 5)
SYMBOLS_LOOKED_AT = 3
MOST_SECONDS = 90


def wake_due_probes(now: datetime) -> None:
    """Leaves a hint for each slot whose scheduled accounts start within half an hour and were not looked at yet."""
    if not settings.SCHEDULER_ENABLED:
        return
    soon = now + timedelta(minutes=MINUTES_BEFORE[0])
    waiting = ScheduleEntry.objects.filter(state=ScheduleState.WAITING, due_at__gt=now, due_at__lte=soon)
    for connection_id, due_at in set(waiting.values_list("account__connection_id", "due_at")):
        minutes = _probe_of(due_at, now)
        done = ScheduledJob.objects.filter(key=_key(connection_id, due_at, minutes), finished_at__isnull=False)
        if not done.exists():
            wake_readiness(connection_id, due_at.isoformat())


def _probe_of(due_at: datetime, now: datetime) -> int:
    """The probe that is due: the last one whose time has come."""
    return min(minutes for minutes in MINUTES_BEFORE if now >= due_at - timedelta(minutes=minutes))


def _key(connection_id: int, due_at: datetime, minutes: int) -> str:
    return f"ready:{connection_id}:{due_at.astimezone(NEW_YORK):%Y-%m-%dT%H:%M}:{minutes}"


def probe_slot(connection_id: int, due_at: datetime) -> str:
    """Looks at the slot's accounts that start at the instant, and tells people what is not ready.

    Returns:
        What was found, for the queue's record.
    """
    now = timezone.now()
    if not due_at - timedelta(minutes=MINUTES_BEFORE[0]) <= now < due_at:
        return "not now"
    minutes = _probe_of(due_at, now)
    day = due_at.astimezone(NEW_YORK).date()
    kind = ScheduledJob.Kind.READINESS
    job = schedule.claim_job(_key(connection_id, due_at, minutes), kind, day, due_at - timedelta(minutes=minutes))
    if job is None:
        return "looked at already"
    problems = asyncio.run(_probe(connection_id, due_at))
    if problems is None:
        schedule.release_job(job)
        return "the slot is at work; looked at again"
    words = "\n".join(problems) or "Broker, quotes, targets and guards are ready."
    schedule.finish_job(job, succeeded=not problems, outcome=words)
    if problems:
        at = f"{due_at.astimezone(NEW_YORK):%H:%M} New York time"
        title = f"Not ready for the open at {at}, in {minutes} minutes"
        notify_operators(NotificationKind.FAILURE, title, words)
    return words


async def _probe(connection_id: int, due_at: datetime) -> list[str] | None:
    """What is not ready; None when another process works the slot."""
    owner = f"{socket.gethostname()}:{os.getpid()}:readiness"
    try:
        lease = await sync_to_async(claim_lease)(connection_id, owner)
        if lease is None:
            return None
        try:
            async with asyncio.timeout(min(MOST_SECONDS, settings.LEASE_TTL_SECONDS * 0.9)):
                return await _look(lease, due_at)
        except TimeoutError:
            return ["The broker or the allocations service answers too slowly."]
        except BrokerError as error:
            return [f"The broker cannot be used: {error.message} Log in and check the connection."]
        finally:
            await sync_to_async(release_lease)(lease)
    finally:
        await sync_to_async(connections.close_all)()


async def _look(lease: Lease, due_at: datetime) -> list[str]:
    waiting = ScheduleEntry.objects.filter(
        state=ScheduleState.WAITING, due_at=due_at, account__connection_id=lease.connection_id
    )
    entries = [entry async for entry in waiting.select_related("account__strategy", "account__policy")]
    accounts = [entry.account for entry in entries]
    problems = await sync_to_async(_blocked)(accounts, due_at)
    if not accounts:
        return problems
    policy = await sync_to_async(resolve_policy)(accounts[0])
    client = make_client(*await sync_to_async(read_slot)(lease.connection_id), policy)
    targets = SharedTargets(float(policy.allocation_timeout_seconds))
    try:
        await client.connect()
        for account in accounts:
            problems += await _of_account(account, client, targets)
    finally:
        await client.disconnect()
    return problems


def _blocked(accounts: Sequence[Account], due_at: datetime) -> list[str]:
    """What the guards will say at the start."""
    calendar, found = market_calendar(), []
    for account in accounts:
        guards = check_guards(account.pk, 0, resolve_policy(account), due_at, calendar)
        found += [f"{account.account_id}: {guard.message}" for guard in guards if not guard.passed]
    return found


async def _of_account(account: Account, client: BrokerClient, targets: SharedTargets) -> list[str]:
    try:
        await client.get_account_snapshot(account.account_id)
        if account.strategy is None:
            return []  # the guards have said so
        symbols = [item.symbol for item in await targets.of(account.strategy)][:SYMBOLS_LOOKED_AT]
        prices = await client.get_multiple_market_prices(symbols, use_cache=False)
    except (BrokerError, TradingError) as error:
        return [f"{account.account_id}: {error.message}"]
    policy = await sync_to_async(resolve_policy)(account)
    wanting = [
        symbol
        for symbol in symbols
        if symbol not in prices or (prices[symbol].kind is PriceKind.DELAYED and not policy.allow_delayed_quotes)
    ]
    return [f"{account.account_id}: There are no live quotes of {', '.join(wanting)}."] if wanting else []
