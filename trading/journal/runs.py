"""Runs: queued, taken up, told, ended. Each move is a guarded UPDATE from the states that allow it."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Now

from accounts.models import Account
from trading.errors import IllegalTransition
from trading.journal.leases import Lease, fence
from trading.journal.outbox import announce
from trading.models import Order, RebalanceRun, RunMode, RunState, RunStep, StrategyEvent, TimelineEntry

MAX_IDLE_ATTEMPTS = 5

TRANSITIONS: dict[RunState, frozenset[RunState]] = {
    RunState.RUNNING: frozenset({RunState.QUEUED}),
    RunState.QUEUED: frozenset({RunState.DEFERRED}),
    RunState.DEFERRED: frozenset({RunState.RUNNING}),
    RunState.SUPERSEDED: frozenset({RunState.QUEUED, RunState.DEFERRED}),
    RunState.COMPLETED: frozenset({RunState.RUNNING}),
    RunState.REFUSED: frozenset({RunState.RUNNING}),
    RunState.FAILED: frozenset({RunState.QUEUED, RunState.RUNNING, RunState.NEEDS_ATTENTION}),
    RunState.NEEDS_ATTENTION: frozenset({RunState.QUEUED, RunState.RUNNING}),
}
"""From which states each state can be reached."""


def move_run(pk: int, target: RunState, **changes: Any) -> None:
    """Moves the run, if it stands where the move starts.

    Raises:
        IllegalTransition: it does not; somebody else has moved it.
    """
    moved = RebalanceRun.objects.filter(pk=pk, state__in=TRANSITIONS[target]).update(state=target, **changes)
    if not moved:
        raise IllegalTransition(f"Run {pk}", target)


def note(pk: int, code: str, message: str, level: str = "info") -> None:
    """Adds a sentence to the run's story."""
    TimelineEntry.objects.create(run_id=pk, code=code, message=message, level=level)


def queue_run(
    event: StrategyEvent,
    account: Account,
    mode: RunMode,
    *,
    approved: RebalanceRun | None = None,
    requested_by: User | None = None,
    not_before: datetime | None = None,
) -> RebalanceRun:
    """Queues a run of the account; of those that wait, only the one of the newest event stays.

    Returns:
        The new run: queued, or superseded when a newer event's run waits already.
    """
    with transaction.atomic():
        Account.objects.select_for_update().get(pk=account.pk)  # one at a time for each account
        waiting = RebalanceRun.objects.filter(
            account=account, mode=mode, state__in=(RunState.QUEUED, RunState.DEFERRED)
        ).select_related("event")
        newer = _newer(waiting, event) or _newer(_taken_up(event, account, mode), event)
        if newer is None:
            for older in waiting:
                _supersede(older.pk, f"A newer event (number {event.pk}) has taken its place.")
        run = RebalanceRun.objects.create(
            account=account,
            event=event,
            connection_id=account.connection_id,
            strategy_name=account.strategy.name if account.strategy else "",
            mode=mode,
            approved_preview=approved,
            requested_by=requested_by,
            not_before=not_before,
            state=RunState.QUEUED if newer is None else RunState.SUPERSEDED,
            finished_at=None if newer is None else Now(),
        )
        note(run.pk, "queued", f"Asked for by {event.get_source_display()}.")
        if newer is not None:
            what = "waits already" if newer.state in {RunState.QUEUED, RunState.DEFERRED} else "was taken up already"
            note(run.pk, "superseded", f"Run {newer.run_id} of a newer event {what}.")
    run.refresh_from_db()
    return run


def _newer(runs: Iterable[RebalanceRun], event: StrategyEvent) -> RebalanceRun | None:
    # Compared here and not in the database, whose collation may order serials in another way.
    return next((run for run in runs if run.event.order > event.order), None)


def _taken_up(event: StrategyEvent, account: Account, mode: RunMode) -> QuerySet[RebalanceRun]:
    """Runs that an older event of the same channel comes too late for: they saw newer targets than it asks for."""
    if not event.channel:
        return RebalanceRun.objects.none()
    return RebalanceRun.objects.filter(
        account=account,
        mode=mode,
        state__in=(RunState.RUNNING, RunState.COMPLETED),
        event__source=event.source,
        event__channel=event.channel,
        event__published_at__gte=event.published_at,
    ).select_related("event")


def refuse_at_once(event: StrategyEvent, account: Account, mode: RunMode, code: str, message: str) -> RebalanceRun:
    """Records that an event's run for an account was refused before it could wait."""
    with transaction.atomic():
        run = RebalanceRun.objects.create(
            account=account,
            event=event,
            connection_id=account.connection_id,
            strategy_name=account.strategy.name if account.strategy else "",
            mode=mode,
            state=RunState.REFUSED,
            step=RunStep.DONE,
            finished_at=Now(),
            error_code=code,
            error_message=message,
        )
        note(run.pk, code, message, "warning")
    run.refresh_from_db()
    return run


def _supersede(pk: int, message: str) -> None:
    move_run(pk, RunState.SUPERSEDED, finished_at=Now(), step=RunStep.DONE)
    note(pk, "superseded", message)


def requeue_due() -> list[RebalanceRun]:
    """Queues the deferred runs whose time has come; a newer one that waits takes the place of an older."""
    requeued = []
    due = RebalanceRun.objects.filter(state=RunState.DEFERRED, not_before__lte=Now())
    for run in due.select_related("event").order_by("event__published_at", "id"):
        with transaction.atomic():
            Account.objects.select_for_update().get(pk=run.account_id)
            waiting = RebalanceRun.objects.filter(account_id=run.account_id, mode=run.mode, state=RunState.QUEUED)
            if other := waiting.select_related("event").first():
                if other.event.order > run.event.order:
                    _supersede(run.pk, f"Run {other.run_id} of a newer event waits already.")
                    continue
                _supersede(other.pk, f"Run {run.run_id} of a newer event has taken its place.")
            try:
                move_run(run.pk, RunState.QUEUED, step=RunStep.WAITING)
            except IllegalTransition:
                continue  # another sweeper has just done it
            note(run.pk, "requeued", "Its time has come: it is planned anew, with the newest targets.")
            requeued.append(run)
    return requeued


def claim_runs(lease: Lease) -> list[RebalanceRun]:
    """Takes up what waits for the slot: runs that an earlier owner left, then queued ones."""
    with transaction.atomic():
        fence(lease)
        left = RebalanceRun.objects.filter(
            connection_id=lease.connection_id, state=RunState.RUNNING, epoch__lt=lease.epoch
        )
        taken = [run.pk for run in left if _take_over(lease, run)]
        for pk in list(_ready(lease.connection_id).order_by("id").values_list("pk", flat=True)):
            move_run(
                pk,
                RunState.RUNNING,
                started_at=Now(),
                connection_id=lease.connection_id,
                epoch=lease.epoch,
                attempts=1,
            )
            note(pk, "started", "A worker has taken it up.")
            taken.append(pk)
    return list(
        RebalanceRun.objects.filter(pk__in=taken)
        .select_related("account__strategy", "account__replacement_set", "account__policy", "event", "approved_preview")
        .order_by("id")
    )


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
    note(run.pk, "taken_over", "The worker before has gone; another one goes on.", "warning")
    return True


def has_ready_runs(connection_id: int) -> bool:
    """Whether something waits that `claim_runs` would take up now."""
    return _ready(connection_id).exists()


def _ready(connection_id: int) -> QuerySet[RebalanceRun]:
    # By the account's slot of now: a run that waited while its account moved goes with it.
    busy = RebalanceRun.objects.filter(state=RunState.RUNNING, mode=RunMode.EXECUTE).values("account_id")
    return RebalanceRun.objects.filter(
        Q(not_before__isnull=True) | Q(not_before__lte=Now()),
        state=RunState.QUEUED,
        account__connection_id=connection_id,
    ).exclude(mode=RunMode.EXECUTE, account_id__in=busy)


def has_sent_orders(pk: int) -> bool:
    """Whether an order of the run was sent, as far as the rows can tell."""
    return Order.objects.filter(run_id=pk, submitted_at__isnull=False).exists()


def ask_to_stop(pk: int, person: str) -> bool:
    """Asks a run to send no more orders; what is sent stays as it is.

    Returns:
        Whether it can still be stopped.
    """
    with transaction.atomic():
        unfinished = RebalanceRun.objects.filter(pk=pk, state__in=RunState.unfinished())
        if unfinished.filter(stop_requested_at__isnull=True).update(stop_requested_at=Now()):
            note(pk, "stop_requested", f"{person} asked to send no more orders.", "warning")
        return unfinished.exists()


def record(lease: Lease, /, pk: int, step: RunStep | None = None, **fields: Any) -> None:
    """Writes facts of a running run, fenced."""
    with transaction.atomic():
        fence(lease)
        if step is not None:
            fields["step"] = step
        if not RebalanceRun.objects.filter(pk=pk, state=RunState.RUNNING, epoch=lease.epoch).update(**fields):
            raise IllegalTransition(f"Run {pk}", "a run with new facts")


def tell(lease: Lease, pk: int, code: str, message: str, level: str = "info") -> None:
    """Adds a sentence to the story of a running run, fenced."""
    with transaction.atomic():
        fence(lease)
        note(pk, code, message, level)


def end_run(
    lease: Lease,
    /,
    pk: int,
    state: RunState,
    *,
    code: str = "",
    message: str = "",
    warnings: Iterable[dict[str, str]] | None = None,
    **fields: Any,
) -> None:
    """Ends a run in a state that nothing follows by itself, and writes what people are told of it."""
    with transaction.atomic():
        fence(lease)
        if warnings is not None:
            fields["warnings"] = list(warnings)
        move_run(pk, state, finished_at=Now(), step=RunStep.DONE, error_code=code, error_message=message, **fields)
        level = "info" if state == RunState.COMPLETED else "error" if code != "" else "warning"
        note(pk, code or str(state), message or "Completed.", level)
        announce(RebalanceRun.objects.select_related("account", "event").get(pk=pk))


def defer_run(lease: Lease, pk: int, *, code: str, message: str, not_before: datetime) -> None:
    """Puts a running run aside until an instant; then it is planned anew."""
    with transaction.atomic():
        fence(lease)
        move_run(pk, RunState.DEFERRED, not_before=not_before, error_code=code, error_message=message)
        note(pk, code, message, "warning")
        announce(RebalanceRun.objects.select_related("account", "event").get(pk=pk))
