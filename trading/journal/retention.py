"""Takes away what is older than an installation keeps. What is not settled stays, however old it is."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, Model, OuterRef, Q, QuerySet
from django.utils import timezone

from trading.models import (
    AccountValue,
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
)

BATCH = 200
KEPT_STATES = (*RunState.unfinished(), RunState.NEEDS_ATTENTION)
QUIET_DAYS = 7
"""Quotes and heartbeats older than this serve nobody."""


@dataclass(frozen=True)
class Removed:
    """How many rows of each kind went, or would go."""

    runs: int
    events: int
    values: int
    messages: int
    prices: int
    heartbeats: int


def delete_expired(*, dry_run: bool = False) -> Removed:
    """Removes what is older than the settings `KEEP_…_DAYS` say, in small transactions.

    Args:
        dry_run: remove nothing, say what would go now. An event goes when its last run has gone, so that more
            events may go in the end.
    """
    runs = _old_runs(_before(settings.KEEP_RUNS_DAYS))
    remove = _count if dry_run else _remove
    return Removed(
        runs=runs.count() if dry_run else _remove_runs(runs),
        events=remove(_old_events(_before(settings.KEEP_EVENTS_DAYS))),
        values=remove(AccountValue.objects.filter(at__lt=_before(settings.KEEP_VALUES_DAYS))),
        messages=remove(_old_notifications(_before(settings.KEEP_EVENTS_DAYS))),
        prices=remove(CachedPrice.objects.filter(as_of__lt=_before(QUIET_DAYS))),
        heartbeats=remove(ProcessHeartbeat.objects.filter(at__lt=_before(QUIET_DAYS))),
    )


def _before(days: int) -> datetime:
    return timezone.now() - timedelta(days=days)


def _old_runs(before: datetime) -> QuerySet[RebalanceRun]:
    """Runs that ended long ago and that nothing which stays points to."""
    unsettled = Order.objects.filter(run=OuterRef("pk"), state__in=(OrderState.PLANNED, *OrderState.open_states()))
    return (
        RebalanceRun.objects.filter(finished_at__lt=before)
        .exclude(state__in=KEPT_STATES)
        .exclude(Exists(unsettled))
        .filter(Q(execution__isnull=True), schedule_entries__isnull=True)
        .exclude(notifications__deliveries__state=DeliveryState.PENDING)
    )


def _old_events(before: datetime) -> QuerySet[StrategyEvent]:
    return StrategyEvent.objects.filter(received_at__lt=before, runs__isnull=True)


def _old_notifications(before: datetime) -> QuerySet[Notification]:
    return Notification.objects.filter(created_at__lt=before).exclude(deliveries__state=DeliveryState.PENDING)


def _count(rows: QuerySet[Any]) -> int:
    return rows.count()


def _remove(rows: QuerySet[Any]) -> int:
    return sum(_remove_batch(rows.model, batch) for batch in _batches(rows))


def _remove_batch(model: type[Model], pks: list[int]) -> int:
    model._default_manager.filter(pk__in=pks).delete()  # noqa: SLF001 - Django's name for it
    return len(pks)


def _batches(rows: QuerySet[Any]) -> Iterable[list[int]]:
    while batch := list(rows.order_by("pk").values_list("pk", flat=True)[:BATCH]):
        yield batch


def _remove_runs(runs: QuerySet[RebalanceRun]) -> int:
    """Runs with their orders and fills; an execution before the preview that it carried out."""
    removed = 0
    for batch in _batches(runs):
        with transaction.atomic():
            Fill.objects.filter(order__run__in=batch).delete()
            Order.objects.filter(run__in=batch).delete()
            ExecutedSession.objects.filter(run__in=batch).delete()
            RebalanceRun.objects.filter(pk__in=batch).delete()
        removed += len(batch)
    return removed
