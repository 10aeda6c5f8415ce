"""Delete rows that are older than their retention period. Open orders and unfinished runs stay, whatever their age."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from axes.models import AccessAttempt, AccessFailureLog, AccessLog
from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from trading.access.sessions import live_sessions
from trading.models import (
    AccountValue,
    AuditEntry,
    CachedPrice,
    DeliveryState,
    ExecutedSession,
    Fill,
    Notification,
    Order,
    OrderState,
    ProcessHeartbeat,
    RebalanceRun,
    RunState,
    StrategyEvent,
    UserSession,
)

BATCH = 200
"""Number of rows that are deleted at a time."""
RETAINED_STATES = (*RunState.unfinished(), RunState.NEEDS_ATTENTION)
CACHE_RETENTION_DAYS = 7
"""Retention period of cached quotes and heartbeats, in days."""

LOGIN_RETENTION_DAYS = 90
"""Retention period of the lockout library's records of logins and failed attempts, in days."""
LOGIN_TABLES = (AccessAttempt, AccessFailureLog, AccessLog)


@dataclass(frozen=True)
class DeletedRows:
    """Number of rows of each kind that were deleted, or would be."""

    runs: int
    events: int
    values: int
    messages: int
    prices: int
    heartbeats: int
    audit: int
    logins: int
    sessions: int


def delete_expired(*, dry_run: bool = False) -> DeletedRows:
    """Delete rows that are older than the settings `KEEP_…_DAYS`, in small transactions.

    Args:
        dry_run: only count what would be deleted now. An event is deleted after its last run, so that more events
            may be deleted than this counts.
    """
    before_events, before_caches = _before(settings.KEEP_EVENTS_DAYS), _before(CACHE_RETENTION_DAYS)
    before_logins = _before(LOGIN_RETENTION_DAYS)
    delete: Callable[[QuerySet[Any]], int] = QuerySet.count if dry_run else _delete
    return DeletedRows(
        runs=delete(_old_runs(_before(settings.KEEP_RUNS_DAYS))),
        events=delete(StrategyEvent.objects.filter(received_at__lt=before_events, runs__isnull=True)),
        values=delete(AccountValue.objects.filter(at__lt=_before(settings.KEEP_VALUES_DAYS))),
        messages=delete(
            Notification.objects.filter(created_at__lt=before_events).exclude(deliveries__state=DeliveryState.PENDING)
        ),
        prices=delete(CachedPrice.objects.filter(as_of__lt=before_caches)),
        heartbeats=delete(ProcessHeartbeat.objects.filter(at__lt=before_caches)),
        audit=delete(AuditEntry.objects.filter(at__lt=_before(settings.KEEP_AUDIT_DAYS))),
        logins=sum(delete(table.objects.filter(attempt_time__lt=before_logins)) for table in LOGIN_TABLES),
        sessions=delete(UserSession.objects.exclude(pk__in=live_sessions().values("pk"))),
    )


def _before(days: int) -> datetime:
    return timezone.now() - timedelta(days=days)


def _old_runs(before: datetime) -> QuerySet[RebalanceRun]:
    """Return the runs that ended before the instant and that no retained row refers to."""
    unresolved = Order.objects.filter(run=OuterRef("pk"), state__in=(OrderState.PLANNED, *OrderState.open_states()))
    return (
        RebalanceRun.objects.filter(finished_at__lt=before)
        .exclude(state__in=RETAINED_STATES)
        .exclude(Exists(unresolved))
        .filter(Q(execution__isnull=True), schedule_entries__isnull=True)
        .exclude(notifications__deliveries__state=DeliveryState.PENDING)
    )


def _delete(rows: QuerySet[Any]) -> int:
    """Delete rows; of runs also orders and fills, and an execution before the preview that it executed."""
    deleted = 0
    while batch := list(rows.order_by("pk").values_list("pk", flat=True)[:BATCH]):
        with transaction.atomic():
            if rows.model is RebalanceRun:
                Fill.objects.filter(order__run__in=batch).delete()
                Order.objects.filter(run__in=batch).delete()
                ExecutedSession.objects.filter(run__in=batch).delete()
            rows.model._default_manager.filter(pk__in=batch).delete()  # noqa: SLF001 - Django's name for it
        deleted += len(batch)
    return deleted
