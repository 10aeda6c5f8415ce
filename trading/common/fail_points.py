"""Points at which a test can kill or stop a process. In production no point is armed, and reaching one has no effect.

`FAIL_POINTS_DIR` names a directory (paper only; settings reject it with TRADING_MODE=live). A file in it, named
`<point>.<anything>`, arms the point once: the process that reaches the point deletes the file and executes it. The file
contains `kill` or `stop` (for SIGKILL and SIGSTOP), optionally followed by the id of the only account it applies to.
"""

import signal
import threading
from enum import StrEnum
from pathlib import Path

from django.conf import settings

SIGNALS = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}


class FailPoint(StrEnum):
    """Every step at which a crash matters. `_written` is inside a transaction, immediately before its commit."""

    EVENT_WRITTEN = "event_written"
    EVENT_COMMITTED = "event_committed"
    LEASE_CLAIMED = "lease_claimed"
    CLAIM_WRITTEN = "claim_written"
    RUN_STARTED = "run_started"
    CONNECTED = "connected"
    ORDERS_RESOLVED = "orders_resolved"
    PLANNED = "planned"
    OPEN_ORDERS_CANCELLED = "open_orders_cancelled"
    ORDERS_COMMITTED = "orders_committed"
    SUBMITTING_WRITTEN = "submitting_written"
    SUBMITTING_COMMITTED = "submitting_committed"
    BEFORE_SEND = "before_send"
    SENT = "sent"
    RESULT_WRITTEN = "result_written"
    ACKNOWLEDGED = "acknowledged"
    FILL_WRITTEN = "fill_written"
    CANCEL_REQUESTED = "cancel_requested"
    FINDING_WRITTEN = "finding_written"
    ORDER_ENDED = "order_ended"
    SELLS_DONE = "sells_done"
    BUYS_DONE = "buys_done"
    REPORTED = "reported"
    END_WRITTEN = "end_written"
    LEASE_RELEASED = "lease_released"
    NOTIFICATION_SENT = "notification_sent"


def reached(point: FailPoint, account_id: str = "") -> None:
    """Kill or stop the process if a test has armed the point. Otherwise do nothing."""
    if settings.FAIL_POINTS_DIR is not None:
        _fail(settings.FAIL_POINTS_DIR, point, account_id)


def _fail(directory: Path, point: FailPoint, account_id: str) -> None:
    for armed in sorted(directory.glob(f"{point}.*")):
        try:
            action, *accounts = armed.read_text(encoding="utf-8").split()
            if accounts and account_id not in accounts:
                continue
            armed.unlink()
        except FileNotFoundError:
            continue  # another process reached it first
        # To this thread, not to the process: another thread could receive the signal while this one continues, possibly
        # into its next transaction.
        signal.pthread_kill(threading.get_ident(), SIGNALS[action])
        return
