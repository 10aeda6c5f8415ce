"""Leases of connection slots: one owner at a time, measured by the database's clock.

The epoch only grows. Every write of an owner first finds its own epoch in the row. A process that was paused beyond
its lease finds another epoch there, and stops.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import DateTimeField, ExpressionWrapper, F, Q, QuerySet, Value
from django.db.models.expressions import Combinable
from django.db.models.functions import Now

from accounts.models import BrokerConnection
from trading.errors import LeaseLost

MIN_REMAINING_SECONDS = 2.0
"""Minimum remaining time of a lease that passes a check, in seconds; a shorter one is renewed at once."""


@dataclass(frozen=True)
class Lease:
    """Permission to act for a slot, valid while the epoch in the database equals this one."""

    connection_id: int
    owner: str
    epoch: int


def _in(seconds: float) -> Combinable:
    later: Combinable = ExpressionWrapper(Now() + Value(timedelta(seconds=seconds)), output_field=DateTimeField())
    return later


def seconds_since(rows: QuerySet[Any], field: str) -> float:
    """Return the age of a time field of one row by the database's clock, in seconds; 0 when it is empty."""
    since, now = rows.annotate(now=Now()).values_list(field, "now").get()
    return (now - since).total_seconds() if since else 0.0


def claim_lease(connection_id: int, owner: str) -> Lease | None:
    """Claim the slot; return None when another process has a valid lease."""
    with transaction.atomic():
        free = Q(lease_until__isnull=True) | Q(lease_until__lt=Now())
        claimed = BrokerConnection.objects.filter(free, pk=connection_id).update(
            lease_owner=owner, lease_epoch=F("lease_epoch") + 1, lease_until=_in(settings.LEASE_TTL_SECONDS)
        )
        if not claimed:
            return None
        epoch = BrokerConnection.objects.values_list("lease_epoch", flat=True).get(pk=connection_id)
    return Lease(connection_id, owner, epoch)


def _of_epoch(lease: Lease) -> QuerySet[BrokerConnection]:
    return BrokerConnection.objects.filter(pk=lease.connection_id, lease_epoch=lease.epoch)


def renew_lease(lease: Lease) -> None:
    """Extend the lease by its full duration.

    Raises:
        LeaseLost: it expired, or another process has the slot. Do nothing more for the slot.
    """
    valid = _of_epoch(lease).filter(lease_owner=lease.owner, lease_until__gte=Now())
    if not valid.update(lease_until=_in(settings.LEASE_TTL_SECONDS)):
        raise LeaseLost


def release_lease(lease: Lease) -> None:
    """Release the slot; do nothing when the lease was lost to another owner."""
    _of_epoch(lease).update(lease_owner="", lease_until=None)


_current: ContextVar[Lease | None] = ContextVar("the lease of the open transaction", default=None)


@contextmanager
def fenced_transaction(lease: Lease) -> Iterator[None]:
    """Open a transaction of a lease owner. Its first statement finds the owner's epoch and locks the row.

    Inside another one of the same lease it is a part of that transaction.

    Raises:
        LeaseLost: another process has the slot.
    """
    if _current.get() == lease:
        yield
        return
    with transaction.atomic():
        if not _of_epoch(lease).update(lease_epoch=F("lease_epoch")):
            raise LeaseLost
        token = _current.set(lease)
        try:
            yield
        finally:
            _current.reset(token)


def check_lease(lease: Lease) -> None:
    """Make sure that the lease is valid now and for the next two seconds; renew it only if necessary.

    Raises:
        LeaseLost: it expired, or another process has the slot. Do nothing more for the slot.
    """
    if not _of_epoch(lease).filter(lease_owner=lease.owner, lease_until__gte=_in(MIN_REMAINING_SECONDS)).exists():
        renew_lease(lease)


def has_live_lease(connection_id: int) -> bool:
    """Return whether a process has a valid lease of the slot now."""
    return BrokerConnection.objects.filter(pk=connection_id, lease_until__gte=Now()).exists()


def record_client_id_in_use(lease: Lease, *, in_use: bool) -> float:
    """Record that the broker reports the slot's client id in use by another connection; return for how many seconds.

    Raises:
        LeaseLost: another process has the slot.
    """
    with fenced_transaction(lease):
        slot = BrokerConnection.objects.filter(pk=lease.connection_id)
        if not in_use:
            slot.filter(in_use_since__isnull=False).update(in_use_since=None)
            return 0.0
        slot.filter(in_use_since__isnull=True).update(in_use_since=Now())
        return seconds_since(slot, "in_use_since")
