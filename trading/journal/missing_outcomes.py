"""Decide the outcomes of ended runs that have none: those of an earlier version, or ended by a process of one."""

import logging
from typing import Any

from django.db.models import Q, QuerySet

from trading.journal.outcomes import OUTCOME_OF_STATE, set_outcome
from trading.models import RebalanceRun, RunOutcome, RunState

logger = logging.getLogger("rebalancer.trading")

ENDED = (
    RunState.COMPLETED,
    RunState.STOPPED,
    RunState.FAILED,
    RunState.REFUSED,
    RunState.DEFERRED,
    RunState.NEEDS_ATTENTION,
)
"""States of runs that have an outcome."""
READ = ("state", "mode", "outcome", "error_code", "stop_requested_at", "policy", "result", "report")
UNREADABLE = {"unreadable": True}
"""Figures of a run whose documents cannot be read. Its outcome is empty unless its state decides it."""
BATCH = 100
"""Number of runs of a sweep, and number that is read at a time."""


def write_missing_outcomes() -> int:
    """Write outcome and figures of the newest runs that have ended without one; return the number of runs."""
    stale = Q(outcome=RunOutcome.DEFERRED) & ~Q(state=RunState.DEFERRED)
    missing = RebalanceRun.objects.filter(Q(outcome="") | stale, state__in=ENDED).exclude(summary=UNREADABLE)
    pks = list(missing.order_by("-pk").values_list("pk", flat=True)[:BATCH])
    return write_outcomes_of(RebalanceRun.objects.filter(pk__in=pks)) if pks else 0


def write_outcomes_of(runs: QuerySet[Any]) -> int:
    """Write outcome and figures of ended runs, unless another process does so; return the number of runs.

    A run with documents that cannot be read stops nothing: it has the outcome of its state, or none. The queryset can
    be that of a migration.
    """
    rows = list(runs.only(*READ).prefetch_related("orders"))
    for run in rows:
        as_read = runs.model.objects.filter(pk=run.pk, state=run.state, outcome=run.outcome)
        try:
            set_outcome(run)
        except Exception:
            logger.exception("The outcome of run %s cannot be decided", run.pk)
            run.outcome, run.summary = OUTCOME_OF_STATE.get(run.state, ""), UNREADABLE
        as_read.update(outcome=run.outcome, summary=run.summary)
    return len(rows)
