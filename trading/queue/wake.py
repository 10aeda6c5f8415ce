"""Hints that wake the workers. The database rows decide what is done; a lost or repeated hint does no harm."""

from django.conf import settings
from django_q.tasks import async_task


def wake_slot(connection_id: int) -> None:
    """Queue a hint that a slot has work. Inside a transaction the hint is committed with it, or not at all."""
    async_task("trading.tasks.advance", connection_id, cluster=settings.BROKER_QUEUE)


def wake_outbox() -> None:
    """Queue a hint that the outbox has messages."""
    # Named explicitly: in a process of the broker queue that queue would be the default.
    async_task("trading.tasks.deliver_notifications", cluster=settings.Q_CLUSTER["name"])


def wake_valuation(connection_id: int) -> None:
    """Queue a hint that accounts of a slot have no value since the close."""
    async_task("trading.tasks.value_accounts", connection_id, cluster=settings.BROKER_QUEUE)


def wake_readiness(connection_id: int, due_at: str) -> None:
    """Queue a hint that scheduled accounts of a slot need a readiness check."""
    async_task("trading.tasks.check_readiness", connection_id, due_at, cluster=settings.BROKER_QUEUE)


def wake_standings() -> None:
    """Queue a hint that accounts have to be compared with their targets again. Committed with the transaction."""
    async_task("trading.tasks.compare_standings", cluster=settings.Q_CLUSTER["name"])


def wake_refresh(account_pk: int) -> None:
    """Queue a hint that a user has requested to read an account now. Committed with the transaction."""
    async_task("trading.tasks.refresh_account", account_pk, cluster=settings.BROKER_QUEUE)
