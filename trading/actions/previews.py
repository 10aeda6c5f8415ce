"""Request previews, submit their plans, and stop runs."""

import uuid

from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from accounts.models import Account
from trading.access.audit import note
from trading.access.permissions import check_permissions
from trading.access.two_factor import code_missing, confirm_live
from trading.error_codes import needs_approval
from trading.errors import Refused
from trading.guards.may_trade import execute_permissions, refusals_to_queue
from trading.inbox.receive import request_run
from trading.journal import runs
from trading.models import EventSource, EventState, RebalanceRun, RunMode, RunState
from trading.models.run_documents import ExecCommand

NEW_PREVIEW = "Nothing was sent. Request a new preview."
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


def execution_refusal(preview: RebalanceRun, user: User) -> Refused | None:
    """Return why the user cannot submit the orders of the preview now; None if they can."""
    try:
        check_permissions(user, *execute_permissions(preview.account), action="execute orders of this account")
    except Refused as refusal:
        return refusal
    return (
        code_missing(user, preview.account)
        or _unsuitable(preview)
        or _outdated(preview)
        or _may_not_trade(preview.account, user)
    )


def _may_not_trade(account: Account, user: User) -> Refused | None:
    failed = refusals_to_queue([account], user).get(account.pk)
    return Refused(failed.code, failed.message) if failed else None


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
        return Refused("already_executed", f"Run {preview.execution.run_id} has already executed this plan.")
    # A user who submits a plan that is held for approval approves it, so that these guards do not block it.
    blocking = [
        guard["message"] for guard in preview.guards if not guard["passed"] and not needs_approval(guard["code"])
    ]
    return Refused("preview_blocked", " ".join(blocking)) if blocking else None


def _outdated(preview: RebalanceRun) -> Refused | None:
    if preview.plan_expires_at is None or preview.plan_expires_at <= timezone.now():
        return Refused("preview_expired", f"The quotes of the preview are too old. {NEW_PREVIEW}")
    later = RebalanceRun.objects.filter(account_id=preview.account_id, pk__gt=preview.pk).exclude(
        state__in=(RunState.REFUSED, RunState.SUPERSEDED, RunState.FAILED)
    )
    if newer := later.first():
        return Refused("preview_superseded", f"Run {newer.run_id} is newer than this preview. {NEW_PREVIEW}")
    return None


def execute_preview(
    preview: RebalanceRun,
    user: User,
    *,
    plan_hash: str,
    typed_account_id: str = "",
    code: str = "",
    source: EventSource = EventSource.ADMIN,
) -> RebalanceRun:
    """Queue the execution of exactly the plan that the user saw. Repeating the request returns the same run.

    Raises:
        Refused: nothing was sent; the message contains the reason.
    """
    if known := _execution_of(preview, user):
        return known
    if refusal := _execution_refusal_for(preview, user, plan_hash):
        raise refusal
    # Before the transaction: its end must not undo the count of wrong codes. The owner of an API token was verified
    # when the token was created.
    confirm_live(preview.account, user, typed_account_id, code if source == EventSource.ADMIN else None)
    with transaction.atomic():
        # One approval of an account at a time, whatever the page or program that it comes from. The account is the row
        # that queueing locks first.
        list(Account.objects.select_for_update(no_key=True).filter(pk=preview.account_id).values_list("pk"))
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
            note("approved", f"{preview}", f"Account {preview.account.account_id}, plan {plan_hash}.", person=user)
    return run


def _execution_of(preview: RebalanceRun, user: User) -> RebalanceRun | None:
    """Return the run that executes the preview by this user's earlier request."""
    run = getattr(preview, "execution", None)
    return run if run is not None and run.requested_by_id == user.pk else None


def _execution_refusal_for(preview: RebalanceRun, user: User, plan_hash: str) -> Refused | None:
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
    note(action, f"{run}", f"Account {run.account.account_id}.", person=user)
    return was_queued
