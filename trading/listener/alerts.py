"""Alerts to operators: a log line every time, and a notification unless the same one was sent recently."""

import logging
from datetime import timedelta

from asgiref.sync import sync_to_async
from django import db

from trading.journal.outbox import notify_operators
from trading.models import NotificationKind

logger = logging.getLogger("rebalancer.trading")

REPEAT_AFTER = timedelta(hours=6)
"""Minimum interval between two notifications with the same title."""


async def alert(title: str, message: str) -> None:
    """Log an alert, and notify the operators unless they were notified of it within `REPEAT_AFTER`."""
    logger.critical("%s. %s", title, message)
    try:
        await sync_to_async(notify_operators)(NotificationKind.FAILURE, title, message, min_interval=REPEAT_AFTER)
    except db.Error:
        logger.exception("The outbox cannot be written. The alert above was not sent.")
