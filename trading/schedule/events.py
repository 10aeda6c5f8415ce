"""Strategy events that the schedule creates."""

from django.contrib.auth.models import User

from accounts.models import Account
from trading.inbox.receive import receive_event
from trading.models import EventSource, StrategyEvent
from trading.models.run_documents import ExecCommand


def create_event(
    key: str,
    command: ExecCommand,
    *,
    channel: str = "",
    account: Account | None = None,
    requested_by: User | None = None,
) -> StrategyEvent:
    """Create the event of the schedule with this key. The same key again creates no further runs."""
    # The order of the keys is part of the digest by which a duplicate is recognized.
    payload = {"exec": str(command)} | ({"account_id": account.account_id} if account else {}) | {"event_id": key}
    return receive_event(
        source=EventSource.SCHEDULE, channel=channel, message_id=key, payload=payload, requested_by=requested_by
    )
