"""The readiness probe: check whether scheduled accounts can start, early enough for operators to act."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import connections
from django.utils import timezone

from accounts.models import Account
from accounts.models.account import FOLLOWED_STRATEGY
from accounts.policies import resolve_policy
from brokers.base import BrokerClient
from brokers.broker_types import PriceKind
from brokers.exceptions import BrokerError
from brokers.exchange_calendar import NEW_YORK
from trading.common.formats import new_york_clock
from trading.engine.connection import make_client, read_slot
from trading.engine.lease_heartbeat import slot_lease
from trading.errors import SlotBusy, TradingError
from trading.guards.account import check_guards
from trading.journal import schedule
from trading.journal.leases import Lease
from trading.journal.outbox import notify_operators
from trading.market_calendar import market_calendar
from trading.models import NotificationKind, ScheduledJob, ScheduleEntry, ScheduleState
from trading.planning.shared_data import SharedTargets
from trading.planning.standing_updates import store_look
from trading.queue.wake import wake_readiness

MINUTES_BEFORE = (30, 5)
"""Times of the probes, in minutes before the start."""
MAX_SYMBOLS = 3
"""Maximum number of symbols of an account whose quotes are checked."""
MAX_SECONDS = 90
"""Maximum duration of a probe, in seconds."""


def wake_due_probes(now: datetime) -> None:
    """Enqueue a probe of each slot whose scheduled accounts start within half an hour, unless it is done."""
    if not settings.SCHEDULER_ENABLED:
        return
    until = now + timedelta(minutes=MINUTES_BEFORE[0])
    waiting = ScheduleEntry.objects.filter(state=ScheduleState.WAITING, due_at__gt=now, due_at__lte=until)
    for connection_id, due_at in set(waiting.values_list("account__connection_id", "due_at")):
        key = _key(connection_id, due_at, _minutes_before(due_at, now))
        if not ScheduledJob.objects.filter(key=key, finished_at__isnull=False).exists():
            wake_readiness(connection_id, due_at.isoformat())


def _minutes_before(due_at: datetime, now: datetime) -> int:
    """Return the minutes before the start of the probe that was due last."""
    return min(minutes for minutes in MINUTES_BEFORE if now >= due_at - timedelta(minutes=minutes))


def _key(connection_id: int, due_at: datetime, minutes: int) -> str:
    return f"ready:{connection_id}:{due_at.astimezone(NEW_YORK):%Y-%m-%dT%H:%M}:{minutes}"


def probe_slot(connection_id: int, due_at: datetime) -> str:
    """Check the slot's accounts that start at `due_at`, notify the operators of problems, and return the outcome."""
    now = timezone.now()
    if not due_at - timedelta(minutes=MINUTES_BEFORE[0]) <= now < due_at:
        return "not due"
    minutes = _minutes_before(due_at, now)
    key, day = _key(connection_id, due_at, minutes), due_at.astimezone(NEW_YORK).date()
    job = schedule.claim_job(key, ScheduledJob.Kind.READINESS, day, due_at - timedelta(minutes=minutes))
    if job is None:
        return "already checked"
    try:
        with slot_lease(connection_id, "readiness") as lease:
            problems = asyncio.run(_find_problems(lease, due_at))
    except SlotBusy:
        schedule.release_job(job)
        return "The slot is busy. It will be checked again."
    except TimeoutError:
        problems = ["The broker or the allocations service responds too slowly."]
    except BrokerError as error:
        problems = [f"The broker is not available: {error.message} Log in and check the connection."]
    outcome = "\n".join(problems) or "Broker, quotes, targets and guards are ready."
    schedule.finish_job(job, succeeded=not problems, outcome=outcome)
    if problems:
        start = new_york_clock(due_at)
        title = f"Not ready for the open at {start}, in {minutes} minutes"
        notify_operators(NotificationKind.FAILURE, title, outcome)
    return outcome


async def _find_problems(lease: Lease, due_at: datetime) -> list[str]:
    waiting = ScheduleEntry.objects.filter(
        state=ScheduleState.WAITING, due_at=due_at, account__connection_id=lease.connection_id
    )
    try:
        async with asyncio.timeout(min(MAX_SECONDS, settings.LEASE_TTL_SECONDS * 0.9)):
            accounts = [
                entry.account
                async for entry in waiting.select_related(f"account__{FOLLOWED_STRATEGY}", "account__policy")
            ]
            if not accounts:
                return []
            problems = await sync_to_async(_failed_guards)(accounts, due_at)
            policy = await sync_to_async(resolve_policy)(accounts[0])
            client = make_client(*await sync_to_async(read_slot)(lease.connection_id), policy)
            targets = SharedTargets(float(policy.allocation_timeout_seconds))
            try:
                await client.connect()
                for account in accounts:
                    problems += await _check_account(account, client, targets)
            finally:
                await client.disconnect()
            return problems
    finally:
        await sync_to_async(connections.close_all)()


def _failed_guards(accounts: Sequence[Account], due_at: datetime) -> list[str]:
    """Return the messages of the guards that would refuse the accounts at the start."""
    calendar = market_calendar()
    return [
        f"{account.account_id}: {guard.message}"
        for account in accounts
        for guard in check_guards(account.pk, 0, resolve_policy(account), due_at, calendar)
        if not guard.passed
    ]


async def _check_account(account: Account, client: BrokerClient, targets: SharedTargets) -> list[str]:
    """Return the problems with the snapshot, the targets and the quotes of an account."""
    try:
        snapshot = await client.get_account_snapshot(account.account_id)
        await sync_to_async(store_look)(account.pk, snapshot)
        if account.followed_strategy is None:
            return []  # a guard reports it
        symbols = [item.symbol for item in (await targets.of(account.followed_strategy)).items][:MAX_SYMBOLS]
        prices = await client.get_multiple_market_prices(symbols, use_cache=False)
    except (BrokerError, TradingError) as error:
        return [f"{account.account_id}: {error.message}"]
    policy = await sync_to_async(resolve_policy)(account)
    missing = [
        prices[symbol].named if symbol in prices else symbol
        for symbol in symbols
        if symbol not in prices
        or prices[symbol].is_refused
        or (prices[symbol].kind is PriceKind.DELAYED and not policy.allow_delayed_quotes)
    ]
    return [f"{account.account_id}: No live quotes for {', '.join(missing)}."] if missing else []
