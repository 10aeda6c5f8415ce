"""Who works a connection slot: one owner at a time, by the database's clock.

The epoch only grows. Every write of an owner starts by finding its own epoch still in the row; a process that
was paused past its lease finds another, and stops.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import DateTimeField, ExpressionWrapper, F, Q, Value
from django.db.models.expressions import Combinable
from django.db.models.functions import Now

from accounts.models import BrokerConnection
from trading.errors import LeaseLost

SURE_SECONDS = 2.0
"""A lease that is found has to live at least so much longer, or it is renewed at once."""


@dataclass(frozen=True)
class Lease:
    """The right to act for a slot, as long as the epoch in the database is still this one."""

    connection_id: int
    owner: str
    epoch: int


def _in(seconds: float) -> Combinable:
    later: Combinable = ExpressionWrapper(Now() + Value(timedelta(seconds=seconds)), output_field=DateTimeField())
    return later


def claim_lease(connection_id: int, owner: str) -> Lease | None:
    """Takes the slot if nobody has it.

    Returns:
        The lease, or None when another process holds a live one.
    """
    with transaction.atomic():
        free = Q(lease_until__isnull=True) | Q(lease_until__lt=Now())
        taken = BrokerConnection.objects.filter(free, pk=connection_id).update(
            lease_owner=owner,
            lease_epoch=F("lease_epoch") + 1,
            lease_until=_in(settings.LEASE_TTL_SECONDS),
        )
        if not taken:
            return None
        epoch = BrokerConnection.objects.values_list("lease_epoch", flat=True).get(pk=connection_id)
    return Lease(connection_id, owner, epoch)


def renew_lease(lease: Lease) -> None:
    """Keeps the slot for another while.

    Raises:
        LeaseLost: it ran out, or somebody else has it. Do nothing more for the slot.
    """
    kept = BrokerConnection.objects.filter(
        pk=lease.connection_id, lease_epoch=lease.epoch, lease_owner=lease.owner, lease_until__gte=Now()
    ).update(lease_until=_in(settings.LEASE_TTL_SECONDS))
    if not kept:
        raise LeaseLost


def release_lease(lease: Lease) -> None:
    """Lets the slot go; a lease that was lost is left to its new owner."""
    BrokerConnection.objects.filter(pk=lease.connection_id, lease_epoch=lease.epoch).update(
        lease_owner="", lease_until=None
    )


_open: ContextVar[Lease | None] = ContextVar("the lease of the transaction that is open", default=None)


@contextmanager
def fenced(lease: Lease) -> Iterator[None]:
    """A transaction of an owner. Its first statement finds the own epoch, and holds the row until the end.

    Inside another one of the same lease it is a part of that.

    Raises:
        LeaseLost: another process has the slot.
    """
    if _open.get() == lease:
        yield
        return
    with transaction.atomic():
        mine = BrokerConnection.objects.filter(pk=lease.connection_id, lease_epoch=lease.epoch)
        if not mine.update(lease_epoch=F("lease_epoch")):
            raise LeaseLost
        before = _open.set(lease)
        try:
            yield
        finally:
            _open.reset(before)


def check_lease(lease: Lease) -> None:
    """Makes sure that the slot is the owner's now and for the next two seconds; mostly by a look.

    Raises:
        LeaseLost: it ran out, or somebody else has it. Do nothing more for the slot.
    """
    sure = BrokerConnection.objects.filter(
        pk=lease.connection_id, lease_epoch=lease.epoch, lease_owner=lease.owner, lease_until__gte=_in(SURE_SECONDS)
    )
    if not sure.exists():
        renew_lease(lease)


def has_live_lease(connection_id: int) -> bool:
    """Whether somebody works the slot now."""
    return BrokerConnection.objects.filter(pk=connection_id, lease_until__gte=Now()).exists()


def record_client_id_in_use(lease: Lease, *, in_use: bool) -> float:
    """Remembers since when the broker says that the slot's client id is taken.

    Returns:
        For how many seconds it has been.

    Raises:
        LeaseLost: another process has the slot.
    """
    with fenced(lease):
        slot = BrokerConnection.objects.filter(pk=lease.connection_id)
        if not in_use:
            slot.filter(in_use_since__isnull=False).update(in_use_since=None)
            return 0.0
        slot.filter(in_use_since__isnull=True).update(in_use_since=Now())
        since, now = slot.annotate(now=Now()).values_list("in_use_since", "now").get()
    return (now - since).total_seconds() if since else 0.0
