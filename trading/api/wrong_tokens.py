"""Wrong tokens: more of them than mistakes explain are told of, from whatever addresses they come.

They cannot be guessed; many of them mean that somebody tries, or that a program of ours has an old one. A limit for
each address would not see those that come from many, and a limit that keeps everybody out would let anybody lock the
API: so a valid token is let in whatever others send, and only the wrong ones are turned away.
"""

import logging
import threading
from datetime import datetime, timedelta

from django.http import HttpRequest
from django.utils import timezone

from trading.access.client_address import client_address
from trading.journal.outbox import notify_operators
from trading.models import NotificationKind

logger = logging.getLogger("rebalancer.trading")

A_MINUTE = 60
"""For each process of the site: counted in memory, since a row would let strangers make us write."""
QUIET = timedelta(hours=1)

_lock = threading.Lock()
_minute: datetime | None = None
_count = 0


def count_wrong_token(request: HttpRequest) -> bool:
    """Counts a wrong token; tells people when there are too many of them.

    Returns:
        Whether they are within the limit.
    """
    number = _count_one(timezone.now().replace(second=0, microsecond=0))
    if number == A_MINUTE + 1:
        address = client_address(request)
        logger.warning("More than %s wrong API tokens within a minute, the last from %s", A_MINUTE, address)
        notify_operators(
            NotificationKind.WARNING,
            "Many wrong API tokens",
            f"More than {A_MINUTE} requests within a minute carried a token that is not valid, the last from {address}."
            " Valid ones work as before. Unless it is a program of yours with an old token, keep the address out at"
            " the proxy.",
            min_interval=QUIET,
        )
    return number <= A_MINUTE


def _count_one(minute: datetime) -> int:
    global _minute, _count
    with _lock:
        _minute, _count = minute, _count + 1 if minute == _minute else 1
        return _count
