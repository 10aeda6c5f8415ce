"""Runs: queued, taken up, told, ended. Each move is a guarded UPDATE from the states that allow it."""

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models.functions import Now

from trading.common.fail_points import FailPoint, reached
from trading.common.log_context import redact
from trading.errors import IllegalTransition
from trading.journal import schedule
from trading.journal.account_status import store_plan
from trading.journal.leases import Lease, fenced
from trading.journal.outbox import APPROVED_BY_RULE, notify_run_ended
from trading.models import AuditEntry, Order, OrderState, RebalanceRun, RunState, RunStep, TimelineEntry

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
    move_runs([pk], target, **changes)


def move_runs(pks: Collection[int], target: RunState, **changes: Any) -> None:
    """Moves the runs, if each stands where the move starts; in a transaction of the caller's.

    Raises:
        IllegalTransition: one of them does not, somebody else has moved it; the others are to be rolled back.
    """
    there = RebalanceRun.objects.filter(pk__in=pks, state__in=TRANSITIONS[target])
    if there.update(state=target, **changes) != len(pks):
        raise IllegalTransition(f"Run {min(pks)}" if len(pks) == 1 else f"One of the runs {sorted(pks)}", target)


def note(pk: int, code: str, message: str, level: str = "info") -> None:
    """Adds a sentence to the run's story."""
    note_each([(pk, code, message)], level)


def note_each(sentences: Iterable[tuple[int, str, str]], level: str = "info") -> None:
    """Adds a sentence to the story of each of several runs: key of the run, code, words."""
    note_all(TimelineEntry(run_id=pk, code=code, message=message, level=level) for pk, code, message in sentences)


def note_all(entries: Iterable[TimelineEntry]) -> None:
    """Adds sentences to the stories of runs, without what is secret in them."""
    told = list(entries)
    for entry in told:
        entry.message = redact(entry.message)
    TimelineEntry.objects.bulk_create(told)


def supersede(pk: int, message: str) -> None:
    """Ends a run that waits, because another takes its place."""
    supersede_all([pk], message)


def supersede_all(pks: Collection[int], message: str) -> None:
    """Ends runs that wait, because others take their places.

    Raises:
        IllegalTransition: one of them does not wait any more; none was moved then.
    """
    with transaction.atomic():
        move_runs(pks, RunState.SUPERSEDED, finished_at=Now(), step=RunStep.DONE)
        note_each([(pk, "superseded", message) for pk in pks])
        for run in RebalanceRun.objects.filter(pk__in=pks, schedule_entries__isnull=False).distinct():
            schedule.on_run_ended(run)


def defer_again(run: RebalanceRun, not_before: datetime) -> None:
    """Puts a run that is put aside at a later time.

    Raises:
        IllegalTransition: it is not put aside any more.
    """
    if not RebalanceRun.objects.filter(pk=run.pk, state=RunState.DEFERRED).update(not_before=not_before):
        raise IllegalTransition(f"Run {run.pk}", "deferred again")
    note(run.pk, "deferred_again", "Its time has passed; it waits for the next open.", "warning")


def has_sent_orders(pk: int) -> bool:
    """Whether an order of the run was sent, as far as the rows can tell."""
    return Order.objects.filter(run_id=pk, submitted_at__isnull=False).exists()


def request_stop(pk: int, person: str) -> bool:
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
    """Writes facts of a running run, fenced; one that takes a step waits for the broker no longer."""
    with fenced(lease):
        if step is not None:
            fields |= {"step": step, "waiting_since": None}
        if not RebalanceRun.objects.filter(pk=pk, state=RunState.RUNNING, epoch=lease.epoch).update(**fields):
            raise IllegalTransition(f"Run {pk}", "a run with new facts")


def add_timeline_entry(lease: Lease, pk: int, code: str, message: str, level: str = "info") -> None:
    """Adds a sentence to the story of a running run, fenced."""
    with fenced(lease):
        note(pk, code, message, level)


def record_auto_approval(lease: Lease, pk: int, account_id: str, message: str) -> None:
    """Adds to the run's story and to the audit trail that its plan was approved by a rule and no person, fenced."""
    with fenced(lease):
        note(pk, APPROVED_BY_RULE, message)
        run = RebalanceRun.objects.only("run_id", "mode", "plan_hash").get(pk=pk)
        detail = f"Account {account_id}, plan {run.plan_hash}. {message}"
        AuditEntry.objects.create(action="approved by rule", subject=str(run), detail=detail)


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
    message = redact(message)  # it may hold the words of somebody else's error
    with fenced(lease):
        if warnings is not None:
            fields["warnings"] = list(warnings)
        move_run(pk, state, finished_at=Now(), step=RunStep.DONE, error_code=code, error_message=message, **fields)
        # A row that was never sent must not look as if it still waited.
        Order.objects.filter(run_id=pk, state=OrderState.PLANNED).update(
            state=OrderState.CANCELLED, finished_at=Now(), message="Never sent: the run has ended."
        )
        reached(FailPoint.END_WRITTEN)
        level = "info" if state == RunState.COMPLETED else "error" if code != "" else "warning"
        note(pk, code or str(state), message or "Completed.", level)
        run = RebalanceRun.objects.select_related("account", "event").get(pk=pk)
        if state == RunState.COMPLETED:
            store_plan(run)
        schedule.on_run_ended(run)
        notify_run_ended(run)


def defer_run(lease: Lease, pk: int, *, code: str, message: str, not_before: datetime) -> None:
    """Puts a running run aside until an instant; then it is planned anew."""
    with fenced(lease):
        move_run(pk, RunState.DEFERRED, not_before=not_before, error_code=code, error_message=message)
        note(pk, code, message, "warning")
        run = RebalanceRun.objects.select_related("account", "event").get(pk=pk)
        schedule.on_run_deferred(run, not_before, message)
        notify_run_ended(run)
