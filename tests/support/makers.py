"""Rows in a line."""

import uuid
from decimal import Decimal

from accounts.models import Account, RebalancePolicy, Strategy, TargetAllocation
from brokers.simulated.models import SimulatedAccount
from trading.engine.slot_worker import work_slot
from trading.inbox.receive import request_run
from trading.models import EventSource
from trading.models.run_documents import ExecCommand

CHEAP = {
    "commission_kind": "per_share",
    "allocation_threshold_percent": Decimal(1),
    "minimum_cash_reserve_usd": Decimal(0),
    "max_account_utilization": Decimal(1),
}


def policy(name="cheap", **fields):
    """A policy without a reserve and with small commissions."""
    return RebalancePolicy.objects.update_or_create(name=name, defaults=CHEAP | fields)[0]


def strategy(name, targets=(), **fields):
    """A static strategy with targets, or one of the allocations service without."""
    source = Strategy.Source.STATIC if targets else Strategy.Source.API
    found, _ = Strategy.objects.get_or_create(name=name, defaults={"source": source} | fields)
    for symbol, weight in dict(targets).items():
        TargetAllocation.objects.update_or_create(strategy=found, symbol=symbol, defaults={"weight": Decimal(weight)})
    return found


def simulated_account(account_id, targets, **fields):
    """An account of the simulated broker that follows a strategy of its own."""
    fields.setdefault("strategy", strategy(f"strategy-of-{account_id.lower()}", targets))
    if "policy" not in fields:
        fields["policy"] = policy()
    return Account.objects.create(
        account_id=account_id, broker="simulated", **{"trade_guard": Account.TradeGuard.NONE, **fields}
    )


def queue(account, command=ExecCommand.REBALANCE, **fields):
    """A queued run of the account."""
    fields.setdefault("source", EventSource.COMMAND)
    return request_run(account, command, message_id=str(uuid.uuid4()), **fields)


def carry_out(account, command=ExecCommand.REBALANCE, **fields):
    """A run of the account, queued and carried out in this process."""
    run = queue(account, command, **fields)
    work_slot(run.connection_id)
    run.refresh_from_db()
    return run


def held(account_id):
    """What the broker's books say: shares by symbol."""
    positions = SimulatedAccount.objects.get(account_id=account_id).positions.all()
    return {position.symbol: position.quantity for position in positions}


def cash(account_id):
    """What the broker's books say: cash in USD."""
    return SimulatedAccount.objects.get(account_id=account_id).cash_usd
