"""Claim the runs that wait for a slot, and release them to another worker."""

from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Coalesce, Now

from accounts.models import Account
from accounts.models.account import FOLLOWED_STRATEGY
from trading.common.fail_points import FailPoint, reached
from trading.errors import IllegalTransition
from trading.journal.leases import Lease, fenced_transaction, seconds_since
from trading.journal.runs import end_run, move_run, move_runs, supersede, write_entries, write_entry
from trading.models import RebalanceRun, RunMode, RunState, RunStep, ScheduleState, TimelineEntry

MAX_IDLE_ATTEMPTS = 5
"""Maximum number of resumptions without progress; after these the run needs attention."""
ISOLATE_AFTER = 2
"""Number of resumptions without progress after which a run is executed alone: it may be what kills its workers."""


def requeue_due_runs() -> list[RebalanceRun]:
    """Queue the deferred runs whose deferral has ended and that are not on the schedule, which has its own rules."""
    due = RebalanceRun.objects.filter(state=RunState.DEFERRED, not_before__lte=Now())
    unscheduled = due.exclude(schedule_entries__state__in=(ScheduleState.WAITING, ScheduleState.MISSED))
    return [run for run in unscheduled.select_related("event").order_by("event__published_at", "id") if requeue(run)]


def requeue(run: RebalanceRun) -> bool:
    """Queue a deferred run; of two queued runs of the account, the one of the newer event supersedes the other.

    Returns:
        Whether it is queued; not when another process was first, or a run of a newer event is queued.
    """
    with transaction.atomic():
        Account.objects.select_for_update(no_key=True).get(pk=run.account_id)
        queued = RebalanceRun.objects.filter(account_id=run.account_id, mode=run.mode, state=RunState.QUEUED)
        if other := queued.select_related("event").first():
            if other.event.order > run.event.order:
                supersede(run.pk, f"Run {other.run_id} of a newer event is already queued.")
                return False
            supersede(other.pk, f"Superseded by run {run.run_id} of a newer event.")
        try:
            move_run(run.pk, RunState.QUEUED, step=RunStep.WAITING, not_before=None)
        except IllegalTransition:
            return False  # another sweeper was first
        write_entry(run.pk, "requeued", "Deferral ended; replanning with current targets.")
    return True


def claim_runs(lease: Lease, *, busy: bool = False) -> list[RebalanceRun]:
    """Claim the runs of the slot: first those that an earlier owner did not finish, then queued ones.

    A run that was resumed several times without progress may be what kills its workers. It is resumed alone, after all
    others, so that it cannot interrupt them.

    Args:
        lease: the lease of the slot.
        busy: whether the owner executes other runs already.
    """
    with fenced_transaction(lease):
        running = RebalanceRun.objects.filter(connection_id=lease.connection_id, state=RunState.RUNNING)
        unfinished = list(running.filter(epoch__lt=lease.epoch).order_by("idle_attempts", "id"))
        claimed = [run.pk for run in unfinished if run.idle_attempts < ISOLATE_AFTER and _resume(lease, run)]
        claimed += _start_queued(lease)
        if not claimed and not busy:
            suspects = (run for run in unfinished if run.idle_attempts >= ISOLATE_AFTER)
            resumed = next((run for run in suspects if _resume(lease, run)), None)
            claimed = [resumed.pk] if resumed else []
        reached(FailPoint.CLAIM_WRITTEN)
    return list(
        RebalanceRun.objects.filter(pk__in=claimed)
        .select_related(
            f"account__{FOLLOWED_STRATEGY}", "account__replacement_set", "account__policy", "event", "approved_preview"
        )
        .order_by("id")
    )


def must_run_alone(run: RebalanceRun) -> bool:
    """Return whether the run was resumed alone, so that no other run may start while it executes."""
    return run.idle_attempts > ISOLATE_AFTER


def _start_queued(lease: Lease) -> list[int]:
    # Locked, so that none of them is superseded between this query and the move.
    ready = _ready(lease.connection_id).select_for_update(of=("self",), no_key=True).order_by("id")
    started = list(ready.values_list("pk", flat=True))
    if started:
        fields = {"connection_id": lease.connection_id, "epoch": lease.epoch, "attempts": 1}
        move_runs(started, RunState.RUNNING, started_at=Now(), **fields)
        write_entries(TimelineEntry(run_id=pk, code="started", message="Started.") for pk in started)
    return started


def _resume(lease: Lease, run: RebalanceRun) -> bool:
    RebalanceRun.objects.filter(pk=run.pk).update(
        epoch=lease.epoch, attempts=F("attempts") + 1, idle_attempts=F("idle_attempts") + 1
    )
    if run.idle_attempts + 1 > MAX_IDLE_ATTEMPTS:
        end_run(
            lease,
            run.pk,
            RunState.NEEDS_ATTENTION,
            code="too_many_attempts",
            message=f"Started {run.attempts} times without progress. See the log, then run `reconcile`.",
        )
        return False
    write_entry(run.pk, "taken_over", "Resumed by another worker.", "warning")
    return True


def _uncount_attempt(lease: Lease, **of: int) -> QuerySet[RebalanceRun]:
    mine = RebalanceRun.objects.filter(**of, state=RunState.RUNNING, epoch=lease.epoch)
    mine.filter(idle_attempts__gt=0).update(idle_attempts=F("idle_attempts") - 1)
    return mine


def release_run(lease: Lease, pk: int) -> float:
    """Release a run that waits for the broker; no attempt is counted. Return the wait in seconds, by database time."""
    with fenced_transaction(lease):
        mine = _uncount_attempt(lease, pk=pk)
        mine.update(waiting_since=Coalesce("waiting_since", Now()))
        return seconds_since(mine, "waiting_since")


def release_runs(lease: Lease) -> list[int]:
    """Release all runs of the lease to another worker, because this one is stopping; return their keys."""
    with fenced_transaction(lease):
        released = list(_uncount_attempt(lease, connection_id=lease.connection_id).values_list("pk", flat=True))
        message = "The worker is stopping and sends no more orders. Another worker will resume the run."
        write_entries(TimelineEntry(run_id=pk, code="handed_over", message=message) for pk in released)
    return released


def has_ready_runs(connection_id: int) -> bool:
    """Return whether `claim_runs` would find a run under a new lease."""
    unfinished = RebalanceRun.objects.filter(connection_id=connection_id, state=RunState.RUNNING)
    return _ready(connection_id).exists() or unfinished.exists()


def _ready(connection_id: int) -> QuerySet[RebalanceRun]:
    # By the account's current slot: a run that was queued while its account moved follows the account.
    busy = RebalanceRun.objects.filter(state=RunState.RUNNING, mode=RunMode.EXECUTE).values("account_id")
    return RebalanceRun.objects.filter(
        Q(not_before__isnull=True) | Q(not_before__lte=Now()),
        state=RunState.QUEUED,
        account__connection_id=connection_id,
    ).exclude(mode=RunMode.EXECUTE, account_id__in=busy)
