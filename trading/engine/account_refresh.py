"""Read one account on request, under the lease of its slot, and store the outcome of the request."""

import asyncio

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import connections

from accounts.models import Account
from accounts.models.account import FOLLOWED_STRATEGY
from accounts.policies import resolve_policy
from brokers.exceptions import BrokerError
from trading.engine.connection import make_client, read_slot
from trading.engine.daily_valuation import read_account
from trading.engine.lease_heartbeat import slot_lease
from trading.errors import SlotBusy
from trading.journal.account_status import finish_refresh
from trading.journal.leases import Lease
from trading.models import AccountRefresh
from trading.planning.total_value import record_total

MAX_SECONDS = 60
"""Maximum duration of a refresh, in seconds."""


def refresh_account(account_pk: int) -> str:
    """Read an account whose refresh was requested; return the code of the outcome, empty if it was read."""
    request = AccountRefresh.objects.filter(account_id=account_pk, finished_at__isnull=True).first()
    if request is None:
        return "not requested"
    account = Account.objects.select_related(FOLLOWED_STRATEGY, "policy").get(pk=account_pk)
    code = message = ""
    try:
        with slot_lease(account.connection_id, "refresh") as lease:
            asyncio.run(_read(lease, account))
    except (SlotBusy, BrokerError) as error:
        code, message = error.code, error.message
    except TimeoutError:
        code, message = "broker_silent", f"The broker did not answer within {MAX_SECONDS} seconds. Try again later."
    except Exception:
        finish_refresh(request, "internal_error", "Unexpected error; see the log.")
        raise
    finish_refresh(request, code, message)
    return code


async def _read(lease: Lease, account: Account) -> None:
    try:
        async with asyncio.timeout(min(MAX_SECONDS, settings.LEASE_TTL_SECONDS * 0.9)):
            policy = await sync_to_async(resolve_policy)(account)
            client = make_client(*await sync_to_async(read_slot)(lease.connection_id), policy)
            await client.connect()
            try:
                await read_account(client, lease, account)
            finally:
                await client.disconnect()
        await sync_to_async(record_total)()
    finally:
        await sync_to_async(connections.close_all)()
