"""Write runs and their timelines. Each transition is one guarded UPDATE from the states that allow it."""

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models.functions import Now

from accounts.models import Account
from trading.common.fail_points import FailPoint, reached
from trading.common.log_context import redact
from trading.errors import IllegalTransition
from trading.journal import schedule
from trading.journal.leases import Lease, fenced_transaction
from trading.journal.outbox import APPROVED_BY_RULE, notify_run_ended
from trading.journal.outcomes import OUTCOME_OF_STATE, orders_text, outcome_label, write_outcome
from trading.models import (
    AuditEntry,
    Order,
    OrderState,
    RebalanceRun,
    RunMode,
    RunOutcome,
    RunState,
    RunStep,
    TimelineEntry,
)

SUPERSEDED = "superseded"
"""Code of a run that another run of its account replaced before it started."""
RUN_STOPPED = "run_stopped"
"""Code of a run that a user stopped or cancelled; also of the guard that stops its next order."""
TRANSITIONS: dict[RunState, frozenset[RunState]] = {
    RunState.RUNNING: frozenset({RunState.QUEUED}),
    RunState.QUEUED: frozenset({RunState.DEFERRED}),
    RunState.DEFERRED: frozenset({RunState.RUNNING}),
    RunState.SUPERSEDED: frozenset({RunState.QUEUED, RunState.DEFERRED}),
    RunState.COMPLETED: frozenset({RunState.RUNNING}),
    RunState.REFUSED: frozenset({RunState.RUNNING}),
    RunState.STOPPED: frozenset({RunState.QUEUED, RunState.RUNNING}),
    RunState.FAILED: frozenset({RunState.QUEUED, RunState.RUNNING, RunState.NEEDS_ATTENTION}),
    RunState.NEEDS_ATTENTION: frozenset({RunState.QUEUED, RunState.RUNNING}),
}
"""States from which each state can be reached."""


def move_run(pk: int, target: RunState, **changes: Any) -> None:
    """Move one run as `move_runs` does."""
    move_runs([pk], target, **changes)


def move_runs(pks: Collection[int], target: RunState, **changes: Any) -> None:
    """Move the runs to the target state, if the present state of each allows that; in the caller's transaction.

    Raises:
        IllegalTransition: one of them was moved by another process; the caller must roll the others back.
    """
    movable = RebalanceRun.objects.filter(pk__in=pks, state__in=TRANSITIONS[target])
    if movable.update(state=target, outcome=OUTCOME_OF_STATE.get(target, ""), **changes) != len(pks):
        raise IllegalTransition(f"Run {min(pks)}" if len(pks) == 1 else f"One of the runs {sorted(pks)}", target)


def write_entry(pk: int, code: str, message: str, level: str = "info") -> None:
    """Add an entry to the run's timeline, with secrets redacted."""
    write_entries([TimelineEntry(run_id=pk, code=code, message=message, level=level)])


def write_entries(entries: Iterable[TimelineEntry]) -> None:
    """Add entries to the timelines of runs, with secrets redacted."""
    rows = list(entries)
    for row in rows:
        row.message = redact(row.message)
    TimelineEntry.objects.bulk_create(rows)


def supersede(pk: int, message: str) -> None:
    """End a queued or deferred run, because another one replaces it."""
    supersede_all([pk], message)


def supersede_all(pks: Collection[int], message: str) -> None:
    """End queued or deferred runs, because others replace them.

    Raises:
        IllegalTransition: one of them is no longer queued or deferred; none was moved.
    """
    with transaction.atomic():
        move_runs(
            pks,
            RunState.SUPERSEDED,
            finished_at=Now(),
            step=RunStep.DONE,
            error_code=SUPERSEDED,
            error_message=message,
        )
        write_entries(TimelineEntry(run_id=pk, code=SUPERSEDED, message=message) for pk in pks)
        for run in RebalanceRun.objects.filter(pk__in=pks, schedule_entries__isnull=False).distinct():
            schedule.on_run_ended(run)


def defer_again(run: RebalanceRun, not_before: datetime) -> None:
    """Defer a deferred run to a later time.

    Raises:
        IllegalTransition: it is no longer deferred.
    """
    if not RebalanceRun.objects.filter(pk=run.pk, state=RunState.DEFERRED).update(not_before=not_before):
        raise IllegalTransition(f"Run {run.pk}", "deferred again")
    write_entry(run.pk, "deferred_again", "Start time passed; deferred to the next open.", "warning")


def has_sent_orders(pk: int) -> bool:
    """Return whether the rows show that an order of the run was sent."""
    return Order.objects.filter(run_id=pk, submitted_at__isnull=False).exists()


def cancel_queued(pk: int, person: str) -> bool:
    """End a queued run that no worker has claimed. One that sent orders before it was deferred is left to a worker.

    Returns:
        False if it is not queued, or has sent orders: `request_stop` applies.
    """
    with transaction.atomic():
        queued = RebalanceRun.objects.filter(pk=pk, state=RunState.QUEUED)
        message = f"{person} cancelled the run before it started. No order was sent."
        changes = {"stop_requested_at": Now(), "finished_at": Now(), "step": RunStep.DONE}
        changes |= {"error_code": RUN_STOPPED, "error_message": message, "stop_requester_name": person[:150]}
        if has_sent_orders(pk) or not queued.update(state=RunState.STOPPED, **changes):
            return False
        write_entry(pk, RUN_STOPPED, message, "warning")
        run = RebalanceRun.objects.select_related("account", "event").get(pk=pk)
        write_outcome(run)
        schedule.on_run_ended(run)
        notify_run_ended(run)
    return True


def request_stop(pk: int, person: str, *, cancel_orders: bool = False) -> bool:
    """Request that a run sends no more orders; submitted ones remain active, unless they are to be cancelled too.

    Returns:
        False if it has finished.
    """
    with transaction.atomic():
        unfinished = RebalanceRun.objects.filter(pk=pk, state__in=RunState.unfinished())
        first = unfinished.filter(stop_requested_at__isnull=True)
        if first.update(stop_requested_at=Now(), stop_requester_name=person[:150]):
            write_entry(pk, "stop_requested", f"{person} requested a stop: no further orders.", "warning")
        if cancel_orders and unfinished.filter(cancel_requested_at__isnull=True).update(cancel_requested_at=Now()):
            write_entry(pk, "cancel_requested", f"{person} requested to cancel the working orders.", "warning")
        return unfinished.exists()


def request_cancel(account: Account | None, person: str) -> int:
    """Request that the executing runs of the account, or of all, send no more orders and cancel the working ones.

    Returns:
        The number of these runs.
    """
    executing = RebalanceRun.objects.filter(state=RunState.RUNNING, mode=RunMode.EXECUTE)
    if account is not None:
        executing = executing.filter(account=account)
    return sum(request_stop(pk, person, cancel_orders=True) for pk in executing.values_list("pk", flat=True))


def record(lease: Lease, pk: int, /, step: RunStep | None = None, **fields: Any) -> None:
    """Write fields of a running run, fenced; a new step also ends its wait for the broker."""
    with fenced_transaction(lease):
        if step is not None:
            fields |= {"step": step, "waiting_since": None}
        if not RebalanceRun.objects.filter(pk=pk, state=RunState.RUNNING, epoch=lease.epoch).update(**fields):
            raise IllegalTransition(f"Run {pk}", "updated")


def add_timeline_entry(lease: Lease, pk: int, code: str, message: str, level: str = "info") -> None:
    """Add an entry to the timeline of a running run, fenced."""
    with fenced_transaction(lease):
        write_entry(pk, code, message, level)


def record_auto_approval(lease: Lease, pk: int, account_id: str, message: str) -> None:
    """Record on the timeline and in the audit trail that a rule, not a user, approved the run's plan; fenced."""
    with fenced_transaction(lease):
        write_entry(pk, APPROVED_BY_RULE, message)
        run = RebalanceRun.objects.only("run_id", "mode", "plan_hash").get(pk=pk)
        detail = f"Account {account_id}, plan {run.plan_hash}. {message}"
        AuditEntry.objects.create(action="approved by rule", subject=str(run), detail=detail)


def end_run(
    lease: Lease,
    pk: int,
    /,
    state: RunState,
    *,
    code: str = "",
    message: str = "",
    warnings: Iterable[dict[str, str]] | None = None,
    **fields: Any,
) -> None:
    """End a run in a final state or in `needs_attention`, and write its notification; fenced."""
    message = redact(message)  # it may contain the message of another system's error
    with fenced_transaction(lease):
        if warnings is not None:
            fields["warnings"] = list(warnings)
        move_run(pk, state, finished_at=Now(), step=RunStep.DONE, error_code=code, error_message=message, **fields)
        # An order that was never sent must not look as if it were still to be sent.
        Order.objects.filter(run_id=pk, state=OrderState.PLANNED).update(
            state=OrderState.CANCELLED, finished_at=Now(), message="Not sent: the run ended."
        )
        reached(FailPoint.END_WRITTEN)
        run = RebalanceRun.objects.select_related("account", "event").prefetch_related("orders").get(pk=pk)
        write_outcome(run)
        write_entry(pk, code or str(state), message or _end_text(run), _end_level(run))
        schedule.on_run_ended(run)
        notify_run_ended(run)


def _end_text(run: RebalanceRun) -> str:
    """Return how a run ended that ended without an error."""
    progress = orders_text(run)
    return f"{outcome_label(run)}: {progress}." if progress else f"{outcome_label(run)}."


def _end_level(run: RebalanceRun) -> str:
    if run.outcome in {RunOutcome.DONE, RunOutcome.NOTHING_TO_DO}:
        return "info"
    is_warning = run.outcome in {RunOutcome.STOPPED, RunOutcome.PARTLY_DONE} or not run.error_code
    return "warning" if is_warning else "error"


def defer_run(lease: Lease, pk: int, code: str, message: str, not_before: datetime) -> None:
    """Defer a running run until an instant; then it is planned again. Fenced."""
    with fenced_transaction(lease):
        move_run(pk, RunState.DEFERRED, not_before=not_before, error_code=code, error_message=message)
        write_entry(pk, code, message, "warning")
        run = RebalanceRun.objects.select_related("account", "event").get(pk=pk)
        schedule.on_run_deferred(run, not_before, message)
        notify_run_ended(run)
