"""Create accounts, strategies, policies and runs in one line each."""

import asyncio
import uuid
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from asgiref.sync import sync_to_async
from django.db.models import QuerySet

from accounts.models import Account, RebalancePolicy, Strategy, TargetAllocation
from brokers.simulated.models import SimulatedAccount
from trading.common.timings import DEFAULT_TIMINGS, Timings
from trading.engine.rebalance import Rebalancer
from trading.engine.slot_worker import work_slot
from trading.inbox.receive import request_run
from trading.models import EventSource, RebalanceRun
from trading.models.run_documents import ExecCommand

CHEAP = {
    "commission_kind": "per_share",
    "allocation_threshold_percent": Decimal(1),
    "minimum_cash_reserve_usd": Decimal(0),
    "max_account_utilization": Decimal(1),
}


QUICK_TIMINGS = Timings(
    reconnect_delay_seconds=0.01,
    cancel_seconds=0.3,
    order_silence_seconds=0.2,
    positions_seconds=0.1,
    cash_seconds=0.3,
)
"""Short waits for runs that have to reach a deadline."""


def policy(name: str = "cheap", **fields: Any) -> RebalancePolicy:
    """Create a policy without a cash reserve and with small commissions."""
    return RebalancePolicy.objects.update_or_create(name=name, defaults=CHEAP | fields)[0]


def strategy(name: str, targets: Any = (), **fields: Any) -> Strategy:
    """Create a static strategy with targets, or one of the allocations service without."""
    source = Strategy.Source.STATIC if targets else Strategy.Source.API
    found, _ = Strategy.objects.get_or_create(name=name, defaults={"source": source} | fields)
    for symbol, weight in dict(targets).items():
        TargetAllocation.objects.update_or_create(strategy=found, symbol=symbol, defaults={"weight": Decimal(weight)})
    return found


def simulated_account(account_id: str, targets: Any, **fields: Any) -> Account:
    """Create an account of the simulated broker with its own strategy."""
    fields.setdefault("strategy", strategy(f"strategy-of-{account_id.lower()}", targets))
    if "policy" not in fields:
        fields["policy"] = policy()
    return Account.objects.create(
        account_id=account_id, broker="simulated", **{"trade_guard": Account.TradeGuard.NONE, **fields}
    )


def queue(account: Any, command: ExecCommand = ExecCommand.REBALANCE, **fields: Any) -> RebalanceRun:
    """Queue a run of the account."""
    fields.setdefault("source", EventSource.COMMAND)
    return request_run(account, command, message_id=str(uuid.uuid4()), **fields)


def carry_out(
    account: Any, command: ExecCommand = ExecCommand.REBALANCE, *, timings: Timings = DEFAULT_TIMINGS, **fields: Any
) -> RebalanceRun:
    """Queue a run of the account, execute it in this process and return it."""
    return work_run(queue(account, command, **fields), timings)


def work_run(run: RebalanceRun, timings: Timings = DEFAULT_TIMINGS) -> RebalanceRun:
    """Work the slot of a run once in this process, as a worker does, and return the run."""
    work_slot(run.connection_id, timings)
    run.refresh_from_db()
    return run


def act_during_run(monkeypatch: Any, action: Callable[[], None], until: Callable[[], QuerySet[RebalanceRun]]) -> None:
    """Call the action between the sells and the buys of the next run, and then wait until other runs have ended."""
    original = Rebalancer._buy
    actions = [action]

    async def buy(self: Rebalancer, *arguments: Any) -> Any:
        if actions:
            await sync_to_async(actions.pop())()
            async with asyncio.timeout(30):
                while await until().exclude(finished_at__isnull=False).aexists():
                    await asyncio.sleep(0.05)
        return await original(self, *arguments)

    monkeypatch.setattr(Rebalancer, "_buy", buy)


def held(account_id: str) -> dict[str, Decimal]:
    """Return the shares by symbol in the simulated broker's records."""
    positions = SimulatedAccount.objects.get(account_id=account_id).positions.all()
    return {position.symbol: position.quantity for position in positions}


def cash(account_id: str) -> Decimal:
    """Return the cash in the simulated broker's records, in USD."""
    return SimulatedAccount.objects.get(account_id=account_id).cash_usd
