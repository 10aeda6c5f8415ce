"""Check of every connection slot: its connection, its accounts, and quotes for their targets."""

import asyncio
from collections.abc import Iterator

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import connections

from accounts.models import Account, BrokerConnection, TargetAllocation
from accounts.policies import resolve_policy
from brokers.base import BrokerClient
from brokers.exceptions import BrokerError
from trading.engine.connection import make_client, read_slot
from trading.engine.lease_heartbeat import slot_lease
from trading.errors import SlotBusy
from trading.monitoring.doctor.findings import Finding, off, ok, problem

QUOTES = "quotes"
LEASE_SHARE = 0.8
"""Maximum duration of the check of a slot, as a fraction of the lease's lifetime."""
MAX_SYMBOLS = 20


def broker() -> Iterator[Finding]:
    """Connect to one slot after another, under the slot's lease, as a worker does."""
    slots = BrokerConnection.objects.filter(accounts__enabled=True).distinct().order_by("client_id")
    if not slots:
        yield off("No account is enabled.")
    for slot in slots:
        if slot.environment != settings.TRADING_MODE:
            yield off(f"{slot}: not used with TRADING_MODE={settings.TRADING_MODE}.")
        else:
            yield from _check_slot(slot)


def _check_slot(slot: BrokerConnection) -> list[Finding]:
    try:
        with slot_lease(slot.pk, "doctor"):
            return asyncio.run(_check_connection(slot))
    except SlotBusy:
        return [ok(f"{slot}: in use by a worker, not checked. See its runs.")]
    except BrokerError as error:
        to_do = "Start the broker's gateway, and check its host, port and login."
        return [problem(f"{slot}: {error.message} ({error.code})", to_do)]
    except TimeoutError:
        return [problem(f"{slot}: the broker did not respond in time.", "Check the broker's gateway.")]


async def _check_connection(slot: BrokerConnection) -> list[Finding]:
    try:
        # The lease is not renewed, so the check must end before it expires.
        async with asyncio.timeout(settings.LEASE_TTL_SECONDS * LEASE_SHARE):
            accounts = [account async for account in slot.accounts.filter(enabled=True).select_related("policy")]
            policy = await sync_to_async(resolve_policy)(accounts[0])
            client = make_client(*await sync_to_async(read_slot)(slot.pk), policy)
            await client.connect()
            try:
                snapshots = [await _check_account(client, account) for account in accounts]
                return [ok(f"{slot}: connected."), *snapshots, await _check_quotes(client, slot)]
            finally:
                await client.disconnect()
    finally:
        await sync_to_async(connections.close_all)()


async def _check_account(client: BrokerClient, account: Account) -> Finding:
    try:
        snapshot = await client.get_account_snapshot(account.account_id)
    except BrokerError as error:
        message = f"{account.account_id}: {error.message} ({error.code})"
        return problem(message, "Check the account number, and that this login manages the account.")
    return ok(f"{account.account_id}: complete, {len(snapshot.positions)} positions.")


async def _check_quotes(client: BrokerClient, slot: BrokerConnection) -> Finding:
    targets = TargetAllocation.objects.filter(strategy__accounts__connection=slot, weight__gt=0)
    symbols = [symbol async for symbol in targets.values_list("symbol", flat=True).distinct().order_by("symbol")]
    symbols = symbols[:MAX_SYMBOLS] or ["SPY"]
    try:
        quotes = await client.get_multiple_market_prices(symbols, use_cache=False)
    except BrokerError as error:
        message = f"{slot}: {error.message} ({error.code})"
        return problem(message, "Check the market data subscriptions of the login.", QUOTES)
    if missing := [symbol for symbol in symbols if symbol not in quotes or not quotes[symbol].is_two_sided]:
        to_do = "Outside trading hours this is normal. Otherwise check the symbols."
        named = ", ".join(quotes[symbol].named if symbol in quotes else symbol for symbol in missing)
        return problem(f"{slot}: no bid and ask for {named}.", to_do, QUOTES)
    kinds = ", ".join(sorted({str(quote.kind) for quote in quotes.values()}))
    return ok(f"{slot}: bid and ask for {len(symbols)} symbols ({kinds}).", QUOTES)
