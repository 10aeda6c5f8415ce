"""Fetch the targets of a strategy as a run would receive them, without a run."""

import asyncio

from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.db import connections

from accounts.models import Strategy
from trading.access.permissions import check_permissions
from trading.planning.shared_data import SharedTargets
from trading.planning.targets import StrategyTargets

FETCH_PERMISSION = "accounts.preview_account"
TIMEOUT_SECONDS = 10.0


def fetch_strategy_targets(strategy: Strategy, user: User) -> StrategyTargets:
    """Fetch the strategy's targets from its source and store them for the strategy page.

    Raises:
        Refused: the user lacks the permission.
        RunFailed: the source returned no valid targets; the message contains the reason.
    """
    check_permissions(user, FETCH_PERMISSION, action="fetch targets")
    return asyncio.run(_fetch(strategy))


async def _fetch(strategy: Strategy) -> StrategyTargets:
    try:
        return await SharedTargets(TIMEOUT_SECONDS).of(strategy)
    finally:
        await sync_to_async(connections.close_all)()
