"""Request previews, submit their plans, and stop runs."""

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from accounts.models import Account
from trading.access.audit import note as write_audit_entry
from trading.access.permissions import check_permissions
from trading.access.two_factor import code_missing, confirm_live
from trading.actions.approvals import checked_note, decliner, newer_runs
from trading.error_codes import needs_approval
from trading.errors import Refused
from trading.guards.may_trade import execute_permissions, refusals_to_queue
from trading.inbox.receive import request_run
from trading.journal import runs
from trading.journal.approvals import lock_account
from trading.models import EventSource, EventState, RebalanceRun, RunMode, RunState
from trading.models.run_documents import ExecCommand
from trading.planning.plan_changes import NEW_PREVIEW, changes_since

VIEW_PERMISSION = "accounts.view_account"
PREVIEW_PERMISSION = "accounts.preview_account"


def request_preview(account: Account, user: User, *, source: EventSource = EventSource.ADMIN) -> RebalanceRun:
    """Queue a preview of the account.

    Raises:
        Refused: the user lacks the permission.
    """
    check_permissions(user, PREVIEW_PERMISSION, action="preview this account")
    return request_run(
        account, ExecCommand.PRINT_REBALANCE, source=source, message_id=f"preview-{uuid.uuid4()}", requested_by=user
    )


def execution_refusal(preview: RebalanceRun, user: User | None) -> Refused | None:
    """Return why the user, or a command (None), cannot submit the orders of the preview now; None if they can."""
    return (
        _not_allowed(preview.account, user)
        or _unsuitable(preview)
        or _outdated(preview)
        or changes_since([preview]).get(preview.pk)
        or _may_not_trade([preview.account], user).get(preview.account_id)
    )


def approval_refusals(plans: Sequence[RebalanceRun], user: User) -> dict[int, Refused]:
    """Return why the user cannot approve each of these waiting plans (by primary key), in a few queries."""
    may_not_trade = _may_not_trade([plan.account for plan in plans], user)
    one_of_each = {plan.account.type: plan.account for plan in plans}
    not_allowed = {kind: _not_allowed(account, user) for kind, account in one_of_each.items()}
    changed = changes_since(plans)
    refusals = {
        plan.pk: not_allowed[plan.account.type]
        or _unsuitable(plan)
        or changed.get(plan.pk)
        or may_not_trade.get(plan.account_id)
        for plan in plans
    }
    return {pk: refusal for pk, refusal in refusals.items() if refusal}


def _not_allowed(account: Account, user: User | None) -> Refused | None:
    """Return why the user may not submit orders of accounts of this type."""
    if user is None:
        return None
    try:
        check_permissions(user, *execute_permissions(account), action="execute orders of this account")
    except Refused as refusal:
        return refusal
    return code_missing(user, account)


def _may_not_trade(accounts: Sequence[Account], user: User | None) -> dict[int, Refused]:
    return {pk: Refused(failed.code, failed.message) for pk, failed in refusals_to_queue(accounts, user).items()}


def waits_for_approval(plan: RebalanceRun) -> bool:
    """Return whether a plan was held or only previewed because a person must look at it first."""
    held = any(not guard["passed"] and needs_approval(guard["code"]) for guard in plan.guards)
    return held or plan.is_held or plan.event.state == EventState.LATE


def refuse_own_approval(plan: RebalanceRun, approver: User) -> None:
    """Refuse that a program approves, with the token of a user, what the same user requested.

    Raises:
        Refused: the approver requested the plan.
    """
    if plan.requested_by_id == approver.pk:
        raise Refused(
            "approver_is_requester", "The owner of this token requested the plan. Another user must approve it."
        )


def _unsuitable(preview: RebalanceRun) -> Refused | None:
    if not (preview.mode == RunMode.PREVIEW and preview.state == RunState.COMPLETED) and not preview.is_held:
        return Refused("preview_superseded", f"This is not a completed preview. {NEW_PREVIEW}")
    if not preview.result.get("trades"):
        return Refused("nothing_to_trade", "The plan has no orders to submit.")
    if hasattr(preview, "execution"):
        return Refused("already_executed", _what_became_of(preview.execution))
    if preview.declined_at is not None:
        return Refused("plan_declined", f"The plan was declined by {decliner(preview)}. {NEW_PREVIEW}")
    # A user who submits a plan that is held for approval approves it, so that these guards do not block it.
    blocking = [
        guard["message"]
        for guard in preview.guards
        if not guard["passed"] and not needs_approval(guard["code"]) and not _has_passed_since(preview, guard)
    ]
    return Refused("preview_blocked", " ".join(dict.fromkeys(blocking))) if blocking else None


def _what_became_of(execution: RebalanceRun) -> str:
    if not execution.is_finished:
        return f"Run {execution.run_id} executes this plan."
    if runs.has_sent_orders(execution.pk):
        return f"Run {execution.run_id} has already executed this plan."
    return f"Run {execution.run_id} was to execute this plan and ended without sending an order. {NEW_PREVIEW}"


def _has_passed_since(plan: RebalanceRun, guard: Mapping[str, Any]) -> bool:
    """Whether a guard of a plan that waits for approval failed only until an instant that has passed."""
    if plan.approval_until is None or not guard.get("not_before"):
        return False
    return datetime.fromisoformat(guard["not_before"]) <= timezone.now()


def _outdated(preview: RebalanceRun) -> Refused | None:
    if newer := newer_runs(preview).first():
        return Refused("preview_superseded", f"Run {newer.run_id} is newer than this preview. {NEW_PREVIEW}")
    now = timezone.now()
    if preview.approval_until is not None:  # it is planned again when its quotes are old
        message = f"The session in which the plan could be approved has closed. {NEW_PREVIEW}"
        return Refused("approval_expired", message) if preview.approval_until <= now else None
    if preview.plan_expires_at is None or preview.plan_expires_at <= now:
        return Refused("preview_expired", f"This preview has expired. {NEW_PREVIEW}")
    return None


def execute_preview(
    preview: RebalanceRun,
    user: User | None,
    *,
    plan_hash: str,
    typed_account_id: str = "",
    code: str = "",
    source: EventSource = EventSource.ADMIN,
    note: str = "",
) -> RebalanceRun:
    """Queue the execution of the plan that the user saw. Repeating the request returns the same run.

    A plan that waits for approval is executed as stored while its quotes are valid. Later it is planned again, within
    the limits of `trading.planning.approved_plan`.

    Args:
        preview: the run that has the plan.
        user: who approves it; None for a command, which needs no confirmation.
        plan_hash: the hash of the plan that the user saw.
        typed_account_id: what the user typed to confirm a live account.
        code: the user's current two-factor code, for a live account.
        source: where the request comes from.
        note: what the approver writes into the audit trail.

    Raises:
        Refused: nothing was sent; the message contains the reason.
    """
    note = checked_note(note)
    if known := _execution_of(preview, user):
        return known
    if refusal := _execution_refusal_for(preview, user, plan_hash):
        raise refusal
    # Before the transaction: its end must not undo the count of wrong codes. The owner of an API token was verified
    # when the token was created.
    if user is not None:
        confirm_live(preview.account, user, typed_account_id, code if source == EventSource.ADMIN else None)
    with transaction.atomic():
        # One answer of an account at a time, whatever the page or program that it comes from.
        lock_account(preview.account_id)
        preview = RebalanceRun.objects.select_related("account", "event").get(pk=preview.pk)
        if known := _execution_of(preview, user):
            return known
        if refusal := _execution_refusal_for(preview, user, plan_hash):
            raise refusal
        run = request_run(
            preview.account,
            ExecCommand.REBALANCE,
            source=source,
            message_id=f"execute-{preview.run_id}",
            requested_by=user,
            approved=preview,
        )
        if run.state != RunState.REFUSED:
            detail = f"Account {preview.account.account_id}, plan {plan_hash}. {note}".strip()
            write_audit_entry("approved", f"{preview}", detail, person=user)
            if preview.approval_until is not None:
                text = f"{user or 'A command'} approved the plan{f': {note}' if note else '.'}"
                runs.write_entry(preview.pk, "approved", text)
    return run


def _execution_of(preview: RebalanceRun, user: User | None) -> RebalanceRun | None:
    """Return the run that executes the preview by this user's, or a command's, earlier request."""
    run = getattr(preview, "execution", None)
    if run is None:
        return None
    is_same = run.requested_by_id == user.pk if user else run.requested_by_id is None and not run.requester_name
    return run if is_same else None


def _execution_refusal_for(preview: RebalanceRun, user: User | None, plan_hash: str) -> Refused | None:
    if refusal := execution_refusal(preview, user):
        return refusal
    if plan_hash != preview.plan_hash:
        return Refused("plan_hash_mismatch", f"The plan on the page differs from the stored plan. {NEW_PREVIEW}")
    return None


def request_stop(run: RebalanceRun, user: User, *, cancel_orders: bool = False) -> bool:
    """Request that a run submits no further orders. Orders already submitted remain active, unless cancelled too.

    Returns:
        True if the run was cancelled before it started; otherwise its worker stops it.

    Raises:
        Refused: the user lacks the permission, or the run has ended.
    """
    check_permissions(user, *execute_permissions(run.account), action="stop this run")
    was_queued = runs.cancel_queued(run.pk, str(user))
    if not was_queued and not runs.request_stop(run.pk, str(user), cancel_orders=cancel_orders):
        raise Refused("run_ended", "The run has already ended.")
    action = "cancelled" if was_queued else "asked to stop and cancel" if cancel_orders else "asked to stop"
    write_audit_entry(action, f"{run}", f"Account {run.account.account_id}.", person=user)
    return was_queued
