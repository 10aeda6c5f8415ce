"""What the queue delivers, any number of times: hints to look at the rows."""

import socket
from datetime import datetime

from django.utils import timezone

from trading.engine import open_order_recovery
from trading.engine.daily_valuation import value_slot, wake_due_slots
from trading.engine.slot_worker import work_slot
from trading.journal import retention
from trading.journal.claims import has_ready_runs
from trading.journal.leases import has_live_lease
from trading.notify import deliver
from trading.queue import shutdown
from trading.queue.schedules import SWEEP_MINUTES
from trading.queue.wake import wake_outbox, wake_slot
from trading.schedule import sweeper
from trading.schedule.readiness import probe_slot


def advance(connection_id: int) -> str:
    """Carries out what waits for a slot."""
    if has_live_lease(connection_id):
        return "another process works the slot"
    if not work_slot(connection_id):
        return "another process works the slot"
    wake_outbox()
    return "worked"


def record_values() -> int:
    """Looks after the close for accounts whose value nobody has read since."""
    return wake_due_slots(timezone.now())


def value_accounts(connection_id: int) -> int:
    """Reads the values of a slot's accounts, and carries out what has come in the meantime."""
    kept = value_slot(connection_id)
    if has_ready_runs(connection_id):
        wake_slot(connection_id)
    return kept


def sweep() -> int:
    """Wakes what was missed.

    In plain `qcluster` it is the sign of life, too: nothing of ours runs beside its workers.
    """
    if not shutdown.is_qworker():
        host = socket.gethostname()
        sweeper.record_heartbeat(f"worker:{host}:qcluster", "worker", host=host, every_seconds=60 * SWEEP_MINUTES)
    return sweeper.sweep()


def recover_open_orders() -> int:
    """Looks for orders that ended runs have left behind, in the broker's records."""
    return open_order_recovery.recover_orphaned_orders()


def market_open() -> int:
    """Starts the accounts that are scheduled for this open; when none opens now, nothing happens."""
    return sweeper.run_calendar()


def tidy() -> str:
    """Removes what is older than the installation keeps."""
    return str(retention.delete_expired())


def check_readiness(connection_id: int, due_at: str) -> str:
    """Looks whether the slot's scheduled accounts could start at the instant."""
    return probe_slot(connection_id, datetime.fromisoformat(due_at))


def deliver_notifications() -> int:
    """Send the deliveries that are due."""
    return deliver.deliver_due()
