"""What a person must know: loud in the log, and once through the outbox."""

import logging
from datetime import timedelta

from asgiref.sync import sync_to_async
from django.db import Error as DatabaseTrouble

from trading.journal.outbox import notify_operators
from trading.models import NotificationKind

logger = logging.getLogger("rebalancer.trading")

QUIET = timedelta(hours=6)


async def alert(title: str, sentence: str) -> None:
    """Tells people, unless they were told the same within hours; the log has it every time."""
    logger.critical("%s. %s", title, sentence)
    try:
        await sync_to_async(notify_operators)(NotificationKind.FAILURE, title, sentence, min_interval=QUIET)
    except DatabaseTrouble:
        logger.exception("The outbox cannot be written; the line above was not sent to anybody")
