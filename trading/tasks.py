"""What the queue delivers, any number of times: hints to look at the rows."""

from trading import notifications, settling, sweeper, webhooks
from trading.journal.leases import has_live_lease
from trading.slot_worker import work_slot
from trading.wake import wake_outbox


def advance(connection_id: int) -> str:
    """Carries out what waits for a slot."""
    if has_live_lease(connection_id):
        return "another process works the slot"
    if not work_slot(connection_id):
        return "another process works the slot"
    wake_outbox()
    return "worked"


def sweep() -> int:
    """Wakes what was missed."""
    return sweeper.sweep()


def settle_left_behind() -> int:
    """Looks for orders that ended runs have left behind, in the broker's records."""
    return settling.settle_left_behind()


def market_open() -> int:
    """Starts the accounts that are scheduled for this open; when none opens now, nothing happens."""
    return sweeper.run_calendar()


def deliver_notifications() -> int:
    """Sends the messages that are due."""
    return notifications.deliver_due() + webhooks.deliver_due()
