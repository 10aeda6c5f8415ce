"""Check of every connection slot: its connection, its accounts, their orders, and quotes for their targets."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import connections
from django.utils import timezone

from accounts.models import Account, BrokerConnection, TargetAllocation
from accounts.policies import resolve_policy
from brokers.base import BrokerClient
from brokers.exceptions import (
    AccountNotManaged,
    BrokerConnectionError,
    BrokerError,
    ExecutionsUnavailable,
    ExecutionTimesUnusable,
    ReadOnlyApi,
)
from trading.engine.connection import make_client, read_slot
from trading.engine.lease_heartbeat import slot_lease
from trading.errors import SlotBusy
from trading.monitoring.doctor.findings import Finding, off, ok, problem

QUOTES = "quotes"
LEASE_SHARE = 0.8
"""Maximum duration of the check of a slot, as a fraction of the lease's lifetime."""
MAX_SYMBOLS = 20
TO_DO = {
    ReadOnlyApi: "Turn on write access in the settings of the broker's API. Previews work without it.",
    ExecutionsUnavailable: "Restart the broker's gateway. Previews work without executions.",
    ExecutionTimesUnusable: "Set the time zone of the broker's gateway, and check the clocks of both hosts.",
    AccountNotManaged: "Check the account number, and that this login manages the account.",
    BrokerConnectionError: "Start the broker's gateway, and check its host, port, login and last message.",
}
"""What to do about an error, by its most specific class, whatever was requested when it occurred."""


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
        return [_problem(str(slot), error)]
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
                orders = await _check_orders(client, accounts[0])
                return [ok(f"{slot}: connected."), *snapshots, orders, await _check_quotes(client, slot)]
            finally:
                await client.disconnect()
    finally:
        await sync_to_async(connections.close_all)()


async def _check_account(client: BrokerClient, account: Account) -> Finding:
    try:
        snapshot = await client.get_account_snapshot(account.account_id)
    except BrokerError as error:
        return _problem(account.account_id, error, "Check the account in the broker's own program, and try again.")
    return ok(f"{account.account_id}: complete, {len(snapshot.positions)} positions.")


async def _check_orders(client: BrokerClient, account: Account) -> Finding:
    """Check that the broker shows orders and executions. If it shows no orders, it accepts none either."""
    try:
        orders = await client.get_open_orders(account.account_id)
        executions = await client.get_executions(account.account_id, since=timezone.now() - timedelta(days=1))
    except BrokerError as error:
        return _problem(f"{account.account_id}, orders", error, "Check the settings of the broker's API.")
    return ok(f"{account.account_id}: {len(orders)} open orders, {len(executions)} executions within a day.")


async def _check_quotes(client: BrokerClient, slot: BrokerConnection) -> Finding:
    targets = TargetAllocation.objects.filter(strategy__accounts__connection=slot, weight__gt=0)
    symbols = [symbol async for symbol in targets.values_list("symbol", flat=True).distinct().order_by("symbol")]
    symbols = symbols[:MAX_SYMBOLS] or ["SPY"]
    try:
        quotes = await client.get_multiple_market_prices(symbols, use_cache=False)
    except BrokerError as error:
        return _problem(str(slot), error, "Check the market data subscriptions of the login.", QUOTES)
    if missing := [symbol for symbol in symbols if symbol not in quotes or not quotes[symbol].is_two_sided]:
        to_do = "Outside trading hours this is normal. Otherwise check the symbols."
        named = ", ".join(quotes[symbol].named if symbol in quotes else symbol for symbol in missing)
        return problem(f"{slot}: no bid and ask for {named}.", to_do, QUOTES)
    kinds = ", ".join(sorted({str(quote.kind) for quote in quotes.values()}))
    return ok(f"{slot}: bid and ask for {len(symbols)} symbols ({kinds}).", QUOTES)


def _problem(subject: str, error: BrokerError, to_do: str = "See the log.", check: str = "") -> Finding:
    """Return a finding about an error. `to_do` is what to do if the error itself does not determine it."""
    to_do = next((TO_DO[kind] for kind in TO_DO if isinstance(error, kind)), to_do)
    return problem(f"{subject}: {error.message} ({error.code})", to_do, check)
