"""A look at a strategy's targets, as a run would see them, without a run."""

import asyncio

from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.db import connections

from accounts.models import Strategy
from calculator import AllocationItem
from trading.errors import Refused
from trading.planning.shared_data import SharedTargets

FETCH_PERMISSION = "accounts.preview_account"
DEADLINE_SECONDS = 10.0


def fetch_now(strategy: Strategy, person: User) -> tuple[AllocationItem, ...]:
    """Asks the strategy's source for its targets; what it says is kept for the strategy's page.

    Raises:
        Refused: the person has no right to ask.
        RunFailed: the source has no good answer; the message says why.
    """
    if not person.has_perm(FETCH_PERMISSION):
        raise Refused("not_permitted", "You may not fetch targets. Ask someone with the right to preview.")
    return asyncio.run(_fetch(strategy))


async def _fetch(strategy: Strategy) -> tuple[AllocationItem, ...]:
    try:
        return await SharedTargets(DEADLINE_SECONDS).of(strategy)
    finally:
        await sync_to_async(connections.close_all)()
