"""Tasks of the queue. Each may be delivered any number of times: it reads from the rows what is to be done."""

import socket
from datetime import datetime

from django.utils import timezone

from trading.engine import account_reconciliation, account_refresh, open_order_recovery
from trading.engine.daily_valuation import value_slot, wake_due_slots
from trading.engine.slot_worker import work_slot
from trading.journal import retention
from trading.journal.leases import has_live_lease
from trading.notify import deliver
from trading.planning import standing_updates
from trading.queue import shutdown
from trading.queue.schedules import SWEEP_MINUTES
from trading.queue.wake import wake_outbox
from trading.schedule import sweeper
from trading.schedule.readiness import probe_slot


def advance(connection_id: int) -> str:
    """Execute the runs that wait for a slot."""
    if has_live_lease(connection_id) or not work_slot(connection_id):
        return "another process has the slot"
    wake_outbox()
    return "worked"


def record_values() -> int:
    """Wake the slots of accounts that have no value since the last close; return how many."""
    return wake_due_slots(timezone.now())


def sweep() -> int:
    """Wake the slots and queues whose hints were lost.

    In plain `qcluster` this also writes the heartbeat: no process of this project runs beside its workers.
    """
    if not shutdown.is_qworker():
        host = socket.gethostname()
        sweeper.record_heartbeat(f"worker:{host}:qcluster", "worker", host=host, every_seconds=60 * SWEEP_MINUTES)
    return sweeper.sweep()


def tidy() -> str:
    """Delete the rows that are older than their retention period."""
    return str(retention.delete_expired())


def recover_open_orders() -> int:
    """Resolve the open orders of ended runs, and look for lost ones of today; return how many are open."""
    account_reconciliation.watch_lost_orders()
    return open_order_recovery.recover_orphaned_orders()


def check_readiness(connection_id: int, due_at: str) -> str:
    """Check whether the slot's scheduled accounts can start at the due time."""
    return probe_slot(connection_id, datetime.fromisoformat(due_at))


def compare_standings() -> int:
    """Compare the accounts whose settings have changed with their targets again; return how many."""
    standing_updates.void_all_changed()
    return standing_updates.compare_again()


# The queue stores these names.
value_accounts = value_slot
refresh_account = account_refresh.refresh_account
market_open = sweeper.run_calendar
deliver_notifications = deliver.deliver_due
