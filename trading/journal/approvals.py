"""Write the answers to plans that wait for approval, and the end of their time. Each is one guarded UPDATE."""

from datetime import datetime

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models.functions import Now

from accounts.models import Account
from trading.journal.leases import Lease, fenced_transaction
from trading.journal.outbox import notify_approval_expired
from trading.journal.runs import write_entry
from trading.models import AuditEntry, RebalanceRun

MAX_NOTE = 500
"""Maximum length of the note of a declined plan, in characters."""


def lock_account(pk: int) -> None:
    """Let one answer of an account at a time pass, in the caller's transaction. Queueing locks this row first, too."""
    list(Account.objects.select_for_update(no_key=True).filter(pk=pk).values_list("pk"))


def decline(pk: int, user: User | None, note: str) -> bool:
    """Mark a plan as declined, by a user or a command; return whether this call did it.

    A plan that was approved, declined before, or whose time has ended is unchanged.
    """
    unanswered = RebalanceRun.objects.filter(
        pk=pk, declined_at__isnull=True, execution__isnull=True, approval_closed_at__isnull=True
    )
    name = str(user) if user else ""
    with transaction.atomic():
        if not unanswered.update(declined_at=Now(), declined_by=user, decliner_name=name, decline_note=note):
            return False
        write_entry(pk, "declined", f"{name or 'A command'} declined the plan{f': {note}' if note else '.'}", "warning")
    return True


def close_approval(run: RebalanceRun, now: datetime, *, unanswered: bool) -> bool:
    """Record that the time to approve a plan has ended, and notify if nobody answered; return whether this call did."""
    with transaction.atomic():
        lock_account(run.account_id)  # an approval that is being stored counts
        waiting = RebalanceRun.objects.filter(
            pk=run.pk, approval_until=run.approval_until, approval_until__lte=now, approval_closed_at__isnull=True
        )
        if unanswered:
            waiting = waiting.filter(declined_at__isnull=True, execution__isnull=True)
        if not waiting.update(approval_closed_at=Now()):
            return False
        if unanswered:
            write_entry(run.pk, "approval_expired", "Nobody approved or declined the plan in time.", "warning")
            notify_approval_expired(run)
    return True


def record_replanned_approval(lease: Lease, pk: int, changes: str) -> None:
    """Record on the timeline and in the audit trail which plan was approved and which one is executed; fenced."""
    with fenced_transaction(lease):
        run = RebalanceRun.objects.select_related("approved_preview", "account").get(pk=pk)
        approved = run.approved_preview
        if approved is None:
            raise ValueError("The run executes no approved plan.")
        message = (
            f"Planned again at current prices, within the limits of the approval: approved plan "
            f"{approved.plan_hash[:8]}, executed plan {run.plan_hash[:8]}. {changes}"
        )
        write_entry(pk, "approval_replanned", message)
        AuditEntry.objects.create(
            person=run.requester_name,
            action="approved plan repriced",
            subject=str(run),
            detail=f"Account {run.account.account_id}: approved plan {approved.plan_hash} of {approved}, "
            f"executed plan {run.plan_hash}. {changes}",
        )
