"""Which runs a worker takes up under its lease, and how it lets go of them."""

from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Coalesce, Now

from accounts.models import Account
from trading.common.fail_points import FailPoint, reached
from trading.errors import IllegalTransition
from trading.journal.leases import Lease, fenced
from trading.journal.runs import end_run, move_run, move_runs, note, note_each, supersede
from trading.models import RebalanceRun, RunMode, RunState, RunStep, ScheduleState

MAX_IDLE_ATTEMPTS = 5
SUSPECT_AFTER = 2
"""Takeovers without progress after which a run is carried out alone: it may be what kills its workers."""


def requeue_due_runs() -> list[RebalanceRun]:
    """Queues the deferred runs whose time has come and that are not on the schedule, which has its own rules."""
    due = RebalanceRun.objects.filter(state=RunState.DEFERRED, not_before__lte=Now())
    unscheduled = due.exclude(schedule_entries__state__in=(ScheduleState.WAITING, ScheduleState.MISSED))
    return [run for run in unscheduled.select_related("event").order_by("event__published_at", "id") if requeue(run)]


def requeue(run: RebalanceRun) -> bool:
    """Queues a deferred run; a newer one that waits takes the place of an older.

    Returns:
        Whether it waits now; not when another process was first, or a newer run is there.
    """
    with transaction.atomic():
        Account.objects.select_for_update(no_key=True).get(pk=run.account_id)
        waiting = RebalanceRun.objects.filter(account_id=run.account_id, mode=run.mode, state=RunState.QUEUED)
        if other := waiting.select_related("event").first():
            if other.event.order > run.event.order:
                supersede(run.pk, f"Run {other.run_id} of a newer event waits already.")
                return False
            supersede(other.pk, f"Run {run.run_id} of a newer event has taken its place.")
        try:
            move_run(run.pk, RunState.QUEUED, step=RunStep.WAITING, not_before=None)
        except IllegalTransition:
            return False  # another sweeper has just done it
        note(run.pk, "requeued", "Its time has come: it is planned anew, with the newest targets.")
    return True


def claim_runs(lease: Lease, *, busy: bool = False) -> list[RebalanceRun]:
    """Takes up what waits for the slot: runs that an earlier owner left, then queued ones.

    A run that was left several times without progress may be what kills its workers. It is taken up alone, after all
    others, so that it cannot take them along.

    Args:
        lease: the right to do so.
        busy: whether the owner is carrying out runs already.
    """
    with fenced(lease):
        left = list(
            RebalanceRun.objects.filter(
                connection_id=lease.connection_id, state=RunState.RUNNING, epoch__lt=lease.epoch
            ).order_by("idle_attempts", "id")
        )
        taken = [run.pk for run in left if run.idle_attempts < SUSPECT_AFTER and _take_over(lease, run)]
        taken += _take_up_queued(lease)
        if not taken and not busy:
            suspect = next((run for run in left if run.idle_attempts >= SUSPECT_AFTER and _take_over(lease, run)), None)
            taken = [suspect.pk] if suspect else []
        reached(FailPoint.CLAIM_WRITTEN)
    return list(
        RebalanceRun.objects.filter(pk__in=taken)
        .select_related("account__strategy", "account__replacement_set", "account__policy", "event", "approved_preview")
        .order_by("id")
    )


def must_run_alone(run: RebalanceRun) -> bool:
    """Whether the run was taken up alone, and nothing else should be while it is carried out."""
    return run.idle_attempts > SUSPECT_AFTER


def _take_up_queued(lease: Lease) -> list[int]:
    # Locked, so that none of them is superseded between this look and the move.
    ready = _ready(lease.connection_id).select_for_update(of=("self",), no_key=True).order_by("id")
    taken = list(ready.values_list("pk", flat=True))
    if taken:
        move_runs(
            taken, RunState.RUNNING, started_at=Now(), connection_id=lease.connection_id, epoch=lease.epoch, attempts=1
        )
        note_each([(pk, "started", "A worker has taken it up.") for pk in taken])
    return taken


def _take_over(lease: Lease, run: RebalanceRun) -> bool:
    RebalanceRun.objects.filter(pk=run.pk).update(
        epoch=lease.epoch, attempts=F("attempts") + 1, idle_attempts=F("idle_attempts") + 1
    )
    if run.idle_attempts + 1 > MAX_IDLE_ATTEMPTS:
        end_run(
            lease,
            run.pk,
            RunState.NEEDS_ATTENTION,
            code="too_many_attempts",
            message=f"It was taken up {run.attempts} times without progress. See the log, then run `reconcile`.",
        )
        return False
    note(run.pk, "taken_over", "The worker before has let go of it; another one goes on.", "warning")
    return True


def release_run(lease: Lease, pk: int) -> float:
    """Leaves a run to a later lease because the broker cannot be reached now; this does not count as an attempt.

    Returns:
        For how many seconds it has been waiting for the broker, by the database's clock.
    """
    with fenced(lease):
        mine = RebalanceRun.objects.filter(pk=pk, state=RunState.RUNNING, epoch=lease.epoch)
        mine.filter(idle_attempts__gt=0).update(idle_attempts=F("idle_attempts") - 1)
        mine.update(waiting_since=Coalesce("waiting_since", Now()))
        since, now = mine.annotate(now=Now()).values_list("waiting_since", "now").get()
    return (now - since).total_seconds() if since else 0.0


def release_runs(lease: Lease) -> list[int]:
    """Leaves all runs of the lease to another worker, because this one was told to stop.

    Returns:
        The runs that are left to be carried on.
    """
    with fenced(lease):
        mine = RebalanceRun.objects.filter(connection_id=lease.connection_id, state=RunState.RUNNING, epoch=lease.epoch)
        mine.filter(idle_attempts__gt=0).update(idle_attempts=F("idle_attempts") - 1)
        left = list(mine.values_list("pk", flat=True))
        for pk in left:
            note(pk, "handed_over", "Its worker was told to stop: no more orders are sent; another worker goes on.")
    return left


def has_ready_runs(connection_id: int) -> bool:
    """Whether something waits that `claim_runs` would take up under a new lease."""
    left = RebalanceRun.objects.filter(connection_id=connection_id, state=RunState.RUNNING)
    return _ready(connection_id).exists() or left.exists()


def _ready(connection_id: int) -> QuerySet[RebalanceRun]:
    # By the account's slot of now: a run that waited while its account moved goes with it.
    busy = RebalanceRun.objects.filter(state=RunState.RUNNING, mode=RunMode.EXECUTE).values("account_id")
    return RebalanceRun.objects.filter(
        Q(not_before__isnull=True) | Q(not_before__lte=Now()),
        state=RunState.QUEUED,
        account__connection_id=connection_id,
    ).exclude(mode=RunMode.EXECUTE, account_id__in=busy)
