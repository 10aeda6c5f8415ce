"""Wake-up hints for the workers. The truth is in the rows; a hint that is lost or doubled does no harm."""

from django.conf import settings
from django_q.tasks import async_task


def wake_slot(connection_id: int) -> None:
    """Leaves a hint that a slot has work. Inside a transaction it is committed with it, or not at all."""
    async_task("trading.tasks.advance", connection_id, cluster=settings.BROKER_QUEUE)


def wake_outbox() -> None:
    """Leaves a hint that the outbox has messages."""
    # Named, since in a process of the broker queue the default would be that queue.
    async_task("trading.tasks.deliver_notifications", cluster=settings.Q_CLUSTER["name"])


def wake_valuation(connection_id: int) -> None:
    """Leaves a hint that accounts of a slot have not been looked at since the close."""
    async_task("trading.tasks.value_accounts", connection_id, cluster=settings.BROKER_QUEUE)


def wake_readiness(connection_id: int, due_at: str) -> None:
    """Leaves a hint that accounts of a slot start soon and were not looked at."""
    async_task("trading.tasks.check_readiness", connection_id, due_at, cluster=settings.BROKER_QUEUE)
