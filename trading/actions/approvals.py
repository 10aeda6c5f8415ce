"""Plans that wait for a user: which ones, what they trade and why they wait; decline them, and end their time.

`trading.actions.previews.execute_preview` approves one.
"""

from datetime import datetime
from decimal import Decimal
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from accounts.models.account import FOLLOWED_STRATEGY
from trading.access.audit import note as write_audit_entry
from trading.access.permissions import check_permissions
from trading.common.log_context import redact
from trading.error_codes import GUARDS, needs_approval
from trading.errors import Refused
from trading.guards.may_trade import execute_permissions
from trading.inbox.payload import storable
from trading.journal import approvals as journal
from trading.models import EventState, RebalanceRun, RunMode, RunState, without_documents
from trading.models.run_documents import ApprovalReason, WaitingPlan

HELD = Q(mode=RunMode.EXECUTE, state=RunState.REFUSED, error_code__in=[code for code in GUARDS if needs_approval(code)])
"""Executions that were stopped before their first order because their plan needs approval."""
REPLACES = HELD | ~Q(state__in=(RunState.REFUSED, RunState.SUPERSEDED, RunState.FAILED))
"""Runs that replace the older plans of their account."""
PLANS = HELD | Q(mode=RunMode.PREVIEW, state=RunState.COMPLETED)


def newer_runs(plan: RebalanceRun) -> QuerySet[RebalanceRun]:
    """Return the runs of the account that replace the plan."""
    return RebalanceRun.objects.filter(REPLACES, account_id=plan.account_id, pk__gt=plan.pk)


def _is_replaced() -> Exists:
    """Return the condition that a newer run replaced the plan while it waited."""
    newer = RebalanceRun.objects.filter(
        REPLACES, account_id=OuterRef("account_id"), pk__gt=OuterRef("pk"), queued_at__lt=OuterRef("approval_until")
    )
    return Exists(newer)


def _unanswered() -> QuerySet[RebalanceRun]:
    """Return the plans that need approval and were neither answered nor replaced in their time."""
    return RebalanceRun.objects.filter(
        PLANS, ~_is_replaced(), approval_until__isnull=False, declined_at__isnull=True, execution__isnull=True
    )


def waiting_plans() -> QuerySet[RebalanceRun]:
    """Return the plans that wait for a user now, the next to expire first: at most one for each account."""
    waiting = _unanswered().filter(approval_until__gt=timezone.now())
    return waiting.select_related(
        f"account__{FOLLOWED_STRATEGY}", "connection", "event", "requested_by", "execution"
    ).order_by("approval_until", "pk")


def answered_plans(most: int) -> list[tuple[RebalanceRun, str]]:
    """Return the newest plans that waited and do so no more, each with its state."""
    plans = RebalanceRun.objects.filter(PLANS, approval_until__isnull=False).exclude(
        pk__in=waiting_plans().values("pk")
    )
    rows = without_documents(plans.select_related("account", "execution")).annotate(is_replaced=_is_replaced())
    return [(plan, _state(plan, is_replaced=plan.is_replaced)) for plan in rows.order_by("-pk")[:most]]


def approval_state(plan: RebalanceRun) -> str:
    """Return `waiting`, `approved`, `declined`, `superseded` or `expired`; "" for a plan that never waited."""
    is_preview = plan.mode == RunMode.PREVIEW and plan.state == RunState.COMPLETED
    if plan.approval_until is None or not (is_preview or plan.is_held):
        return ""
    return _state(plan, is_replaced=newer_runs(plan).filter(queued_at__lt=plan.approval_until).exists())


def _state(plan: RebalanceRun, *, is_replaced: bool) -> str:
    if plan.declined_at is not None:
        return "declined"
    if hasattr(plan, "execution"):
        return "approved"
    if is_replaced:
        return "superseded"
    is_waiting = plan.approval_until is not None and plan.approval_until > timezone.now()
    return "waiting" if is_waiting else "expired"


def refuse_unless_waiting(plan: RebalanceRun) -> None:
    """Check that the plan waits for a user now.

    Raises:
        Refused: it does not; the message contains the reason.
    """
    refusals = {
        "": ("not_waiting", "The plan does not wait for approval."),
        "approved": ("already_executed", "The plan was already approved."),
        "declined": ("plan_declined", f"The plan was already declined by {decliner(plan)}."),
        "superseded": ("preview_superseded", "A newer run of the account has replaced the plan."),
        "expired": ("approval_expired", "The time to answer has ended."),
    }
    if refusal := refusals.get(approval_state(plan)):
        raise Refused(*refusal)


def decliner(plan: RebalanceRun) -> str:
    """Return who declined the plan."""
    return plan.decliner_name or "a command"


def decline_plan(plan: RebalanceRun, user: User | None, note: str = "") -> RebalanceRun:
    """Decline a plan that waits for approval, by a user or a command (None). Repeating it changes nothing.

    Args:
        plan: the run that has the plan.
        user: who declines.
        note: the reason, at most 500 characters; stored with the plan.

    Raises:
        Refused: the user lacks the permission, the note is too long, or the plan does not wait any more.
    """
    if user is not None:
        check_permissions(user, *execute_permissions(plan.account), action="decline plans of this account")
    note = checked_note(note)
    with transaction.atomic():
        journal.lock_account(plan.account_id)
        plan = RebalanceRun.objects.select_related("account", "event").get(pk=plan.pk)
        same = (user.pk, str(user)) if user else (None, "")
        if plan.declined_at is not None and (plan.declined_by_id, plan.decliner_name) == same:
            return plan
        refuse_unless_waiting(plan)
        if not journal.decline(plan.pk, user, note):
            raise Refused("not_waiting", "The plan was answered in the meantime.")
        detail = f"Account {plan.account.account_id}, plan {plan.plan_hash}. {note}".strip()
        write_audit_entry("declined", str(plan), detail, person=user)
    plan.refresh_from_db()
    return plan


def checked_note(note: str) -> str:
    """Return a note as it is stored.

    Raises:
        Refused: it is too long.
    """
    note = redact(storable(note.strip()))
    if len(note) > journal.MAX_NOTE:
        raise Refused(
            "note_too_long", f"The note has {len(note)} characters; at most {journal.MAX_NOTE} are stored. Shorten it."
        )
    return note


def close_expired_approvals(now: datetime) -> int:
    """Close the plans whose time to answer has ended, and notify of those that nobody answered. Return their number."""
    ended = RebalanceRun.objects.filter(approval_until__lte=now, approval_closed_at__isnull=True)
    runs = list(without_documents(ended.select_related("account", "event")).order_by("pk"))
    unanswered = set(_unanswered().filter(pk__in=[run.pk for run in runs]).values_list("pk", flat=True))
    return sum(journal.close_approval(run, now, unanswered=run.pk in unanswered) for run in runs)


# ---- what a waiting plan is


def waiting_plan(plan: RebalanceRun) -> WaitingPlan:
    """Return what a user decides about, as pages, commands and the API show it."""
    if plan.approval_until is None:
        raise ValueError("The plan does not wait for approval.")
    content: dict[str, Any] = plan.result["plan"]
    return WaitingPlan(
        run_id=plan.run_id,
        account_id=plan.account.account_id,
        strategy=plan.strategy_name,
        mode="execute" if plan.mode == RunMode.EXECUTE else "preview",
        plan_hash=plan.plan_hash,
        reasons=reasons(plan),
        waiting_since=plan.finished_at or plan.queued_at,
        approval_until=plan.approval_until,
        sells=len(content["sells"]),
        buys=len(content["buys"]),
        sell_value=_value(content["sells"]),
        buy_value=_value(content["buys"]),
        turnover_percent=Decimal(plan.result["turnover_percent"]).quantize(Decimal("0.01")),
        requested_by=plan.requester_name or None,
    )


def reasons(plan: RebalanceRun) -> tuple[ApprovalReason, ...]:
    """Return why the plan waits."""
    found = [
        ApprovalReason(code=guard["code"], message=guard["message"])
        for guard in plan.guards
        if not guard["passed"] and needs_approval(guard["code"])
    ]
    if plan.event.state == EventState.LATE:
        found.append(ApprovalReason(code="late_event", message=plan.event.reason))
    return tuple(found)


def _value(lines: list[dict[str, Any]]) -> Decimal:
    """Return the value of planned trades at their quotes, in USD."""
    value = sum((abs(line["quantity"]) * Decimal(line["quote_usd"]) for line in lines), Decimal(0))
    return value.quantize(Decimal("0.01"))
