"""The state of a preview or of a held plan: exactly one, for its page, the API and the list of plans that wait."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from django.contrib.auth.models import User

from trading.actions.approvals import approval_state, decliner, waiting_plans
from trading.actions.previews import execution_refusal
from trading.errors import Refused
from trading.journal.outcomes import outcome_label
from trading.journal.runs import has_sent_orders
from trading.models import RebalanceRun, RunState


class PlanState(StrEnum):
    """What can be done with a plan, or what became of it."""

    PLANNING = "planning"
    """It is not made yet."""
    FAILED = "failed"
    """It could not be made."""
    NOTHING_TO_TRADE = "nothing_to_trade"
    SENT = "sent"
    """A run executes it, or has."""
    REJECTED = "rejected"
    """A run was to execute it, and ended without sending an order."""
    DECLINED = "declined"
    SUPERSEDED = "superseded"
    EXPIRED = "expired"
    BLOCKED = "blocked"
    WAITING_FOR_APPROVAL = "waiting_for_approval"
    READY = "ready"


STATE_OF_REFUSAL = {
    "nothing_to_trade": PlanState.NOTHING_TO_TRADE,
    "already_executed": PlanState.SENT,
    "plan_declined": PlanState.DECLINED,
    "preview_superseded": PlanState.SUPERSEDED,
    "preview_moved": PlanState.SUPERSEDED,
    "approval_outdated": PlanState.SUPERSEDED,
    "preview_expired": PlanState.EXPIRED,
    "approval_expired": PlanState.EXPIRED,
}
"""State of a plan by the code with which its execution is refused; any other code blocks it."""
CHANGED = frozenset({"preview_moved", "approval_outdated"})
"""Codes of refusals because targets or settings have changed since the plan was made."""
OF_THE_USER = frozenset({"not_permitted", "code_needed", "code_device_needed"})
"""Codes of refusals that concern the user, not the plan."""


@dataclass(frozen=True)
class PreviewState:
    """The state of a plan, with one sentence. `refusal` is why this user cannot submit it; None if they can."""

    state: PlanState
    message: str
    valid_until: datetime | None = None
    run: RebalanceRun | None = None
    refusal: Refused | None = None

    @property
    def can_be_sent(self) -> bool:
        """Whether the user can submit exactly this plan now."""
        return self.state in {PlanState.READY, PlanState.WAITING_FOR_APPROVAL} and self.refusal is None


def preview_state(plan: RebalanceRun, user: User | None) -> PreviewState:
    """Return the state of a preview or held plan, and whether the user, or a command (None), can submit it."""
    if (unmade := _without_plan(plan)) is not None:
        return unmade
    refusal = execution_refusal(plan, user)
    # The state of the plan does not depend on who looks at it.
    of_plan = execution_refusal(plan, None) if refusal and refusal.code in OF_THE_USER else refusal
    if of_plan is not None:
        state = STATE_OF_REFUSAL.get(of_plan.code, PlanState.BLOCKED)
        if state is PlanState.SENT:
            return _sent(plan, plan.execution)
        return PreviewState(state, _message(plan, state, of_plan), refusal=refusal)
    if approval_state(plan) == "waiting":
        message = "Waiting for approval. Nothing was sent."
        return PreviewState(PlanState.WAITING_FOR_APPROVAL, message, plan.approval_until, refusal=refusal)
    message = "Ready to send: exactly these orders." if refusal is None else "Planned. Nothing was sent."
    return PreviewState(PlanState.READY, message, plan.plan_expires_at, refusal=refusal)


def _without_plan(plan: RebalanceRun) -> PreviewState | None:
    if not plan.is_finished:
        return PreviewState(PlanState.PLANNING, "The plan is being made.")
    if plan.state == RunState.SUPERSEDED:
        return PreviewState(PlanState.SUPERSEDED, "Superseded by a newer request. Nothing was sent.")
    if plan.state != RunState.COMPLETED and not plan.is_held:
        return PreviewState(PlanState.FAILED, "There is no plan. Nothing was sent.")
    return None


def _sent(plan: RebalanceRun, run: RebalanceRun) -> PreviewState:
    if not run.is_finished:
        return PreviewState(PlanState.SENT, f"Run {run.run_id} executes this plan.", run=run)
    if has_sent_orders(run.pk):
        is_same = run.plan_hash == plan.plan_hash
        message = "Sent by" if is_same else "Approved, planned again at current prices, and sent by"
        return PreviewState(PlanState.SENT, f"{message} run {run.run_id}.", run=run)
    message = f"Not sent: run {run.run_id} ended without an order ({outcome_label(run).lower()})."
    return PreviewState(PlanState.REJECTED, message, run=run)


def _message(plan: RebalanceRun, state: PlanState, refusal: Refused) -> str:
    if refusal.code in CHANGED:
        return refusal.message
    return {
        PlanState.NOTHING_TO_TRADE: "Nothing to trade. Each symbol and its reason are listed below.",
        PlanState.DECLINED: f"Declined by {decliner(plan)}. Nothing was sent.",
        PlanState.SUPERSEDED: "A newer run of the account has replaced this preview. Nothing was sent.",
        PlanState.EXPIRED: "This preview has expired. Nothing was sent.",
    }.get(state, f"Blocked: {refusal.message}")


def is_waiting(run: RebalanceRun) -> bool:
    """Return whether the run's plan waits for approval. `mark_waiting` answers it for many runs by one query."""
    known: bool | None = getattr(run, "_is_waiting", None)
    return approval_state(run) == "waiting" if known is None else known


def mark_waiting(runs: Collection[RebalanceRun]) -> None:
    """Answer `is_waiting` for all these runs by one query."""
    asked = {run.pk for run in runs if run.approval_until is not None}
    waiting = set(waiting_plans().filter(pk__in=asked).values_list("pk", flat=True)) if asked else set()
    for run in runs:
        run._is_waiting = run.pk in waiting  # type: ignore[attr-defined]  # noqa: SLF001 - read by `is_waiting`
