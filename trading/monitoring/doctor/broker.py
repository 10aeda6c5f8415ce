"""Every connection slot: its link, its accounts, and quotes for what they trade."""

import asyncio
import os
import socket

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import connections

from accounts.models import Account, BrokerConnection, TargetAllocation
from accounts.policies import resolve_policy
from brokers.base import BrokerClient
from brokers.exceptions import BrokerError
from trading.engine.connection import make_client, read_slot
from trading.journal.claims import has_ready_runs
from trading.journal.leases import claim_lease, release_lease
from trading.monitoring.doctor.findings import Finding, off, ok, problem
from trading.queue.wake import wake_slot

CHECK = "broker"
QUOTES = "quotes"
WITHIN_THE_LEASE = 0.8
MOST_SYMBOLS = 20


def check() -> list[Finding]:
    """One link after the other, under the slot's lease, as a worker would open it."""
    slots = BrokerConnection.objects.filter(accounts__enabled=True).distinct().order_by("client_id")
    findings = [finding for slot in slots for finding in _check_slot(slot)]
    return findings or [off(CHECK, "No account is enabled.")]


def _check_slot(slot: BrokerConnection) -> list[Finding]:
    if slot.environment != settings.TRADING_MODE:
        return [off(CHECK, f"{slot}: not used with TRADING_MODE={settings.TRADING_MODE}.")]
    return asyncio.run(_under_lease(slot))


async def _under_lease(slot: BrokerConnection) -> list[Finding]:
    try:
        lease = await sync_to_async(claim_lease)(slot.pk, f"{socket.gethostname()}:{os.getpid()}:doctor")
        if lease is None:
            return [ok(CHECK, f"{slot}: a worker has it just now; its runs tell how that goes.")]
        try:
            # Nobody renews this lease: what is not done within it is not done.
            async with asyncio.timeout(settings.LEASE_TTL_SECONDS * WITHIN_THE_LEASE):
                return await _try_link(slot)
        except BrokerError as error:
            to_do = "Start the broker's gateway, and check its host, port and login."
            return [problem(CHECK, f"{slot}: {error.message} ({error.code})", to_do)]
        except TimeoutError:
            return [problem(CHECK, f"{slot}: the broker did not answer in time.", "Look at the broker's gateway.")]
        finally:
            await sync_to_async(release_lease)(lease)
            if await sync_to_async(has_ready_runs)(slot.pk):  # it came while we had the lease
                await sync_to_async(wake_slot)(slot.pk)
    finally:
        await sync_to_async(connections.close_all)()


async def _try_link(slot: BrokerConnection) -> list[Finding]:
    accounts = [account async for account in slot.accounts.filter(enabled=True).select_related("policy")]
    policy = await sync_to_async(resolve_policy)(accounts[0])
    client = make_client(*await sync_to_async(read_slot)(slot.pk), policy)
    await client.connect()
    try:
        looks = [await _look_at(client, account) for account in accounts]
        return [ok(CHECK, f"{slot}: connected."), *looks, *await _ask_for_quotes(client, slot)]
    finally:
        await client.disconnect()


async def _look_at(client: BrokerClient, account: Account) -> Finding:
    try:
        snapshot = await client.get_account_snapshot(account.account_id)
    except BrokerError as error:
        words = f"{account.account_id}: {error.message} ({error.code})"
        return problem(CHECK, words, "Check the account's number, and that this login manages it.")
    return ok(CHECK, f"{account.account_id}: complete, {len(snapshot.positions)} positions.")


async def _ask_for_quotes(client: BrokerClient, slot: BrokerConnection) -> list[Finding]:
    followed = TargetAllocation.objects.filter(strategy__accounts__connection=slot, weight__gt=0)
    symbols = [symbol async for symbol in followed.values_list("symbol", flat=True).distinct().order_by("symbol")]
    symbols = symbols[:MOST_SYMBOLS] or ["SPY"]
    try:
        quotes = await client.get_multiple_market_prices(symbols, use_cache=False)
    except BrokerError as error:
        words = f"{slot}: {error.message} ({error.code})"
        return [problem(QUOTES, words, "Check the market data subscriptions of the login.")]
    if lacking := [symbol for symbol in symbols if symbol not in quotes or not quotes[symbol].is_two_sided]:
        words = f"{slot}: no bid and ask for {', '.join(lacking)}."
        return [problem(QUOTES, words, "Outside trading hours this passes by itself; else check the symbols.")]
    kinds = ", ".join(sorted({str(quote.kind) for quote in quotes.values()}))
    return [ok(QUOTES, f"{slot}: bid and ask for {len(symbols)} symbols ({kinds}).")]
