"""Previews that people ask for, and the plans that they approve."""

import uuid

from django.contrib.auth.models import User
from django.utils import timezone

from accounts.models import Account
from trading.access.audit import note
from trading.access.two_factor import code_missing, confirm_live
from trading.error_codes import needs_approval
from trading.errors import Refused
from trading.inbox.receive import request_run
from trading.journal import runs
from trading.models import EventSource, RebalanceRun, RunMode, RunState
from trading.models.run_documents import ExecCommand

NEW_PREVIEW = "Nothing was sent. Make a new preview."
VIEW_PERMISSION = "accounts.view_account"
PREVIEW_PERMISSION = "accounts.preview_account"
EXECUTE_PERMISSION = "accounts.execute_account"
EXECUTE_LIVE_PERMISSION = "accounts.execute_live_account"


def may_execute(person: User, account: Account) -> bool:
    """Whether the person may send orders of the account."""
    right = EXECUTE_LIVE_PERMISSION if account.type == Account.Type.LIVE else EXECUTE_PERMISSION
    return person.has_perm(EXECUTE_PERMISSION) and person.has_perm(right)


def request_preview(account: Account, person: User, *, source: EventSource = EventSource.ADMIN) -> RebalanceRun:
    """Queues a preview of the account.

    Raises:
        Refused: the person has no right to preview.
    """
    if not person.has_perm(PREVIEW_PERMISSION):
        raise Refused("not_permitted", "You may not preview this account. Ask someone with the right.")
    return request_run(
        account,
        ExecCommand.PRINT_REBALANCE,
        source=source,
        message_id=f"preview-{uuid.uuid4()}",
        requested_by=person,
    )


def why_not(preview: RebalanceRun, person: User) -> Refused | None:
    """Why the person cannot send the preview's orders now; None when they can."""
    if not may_execute(person, preview.account):
        return Refused(
            "not_permitted",
            "You may preview this account, but not trade it. Ask someone with the right to execute.",
        )
    return code_missing(person, preview.account) or _cannot_be_sent(preview) or _out_of_date(preview)


def _cannot_be_sent(preview: RebalanceRun) -> Refused | None:
    if not (preview.mode == RunMode.PREVIEW and preview.state == RunState.COMPLETED) and not preview.is_held:
        return Refused("preview_superseded", f"This is not a finished preview. {NEW_PREVIEW}")
    if not preview.result.get("trades"):
        return Refused("nothing_to_trade", "The account is inside its band: there is nothing to send.")
    if hasattr(preview, "execution"):
        return Refused("already_executed", f"These orders were sent already, by run {preview.execution.run_id}.")
    # These hold a plan back until a person has seen it, and whoever sends it from its page has.
    blocking = [
        guard["message"] for guard in preview.guards if not guard["passed"] and not needs_approval(guard["code"])
    ]
    return Refused("preview_blocked", " ".join(blocking)) if blocking else None


def _out_of_date(preview: RebalanceRun) -> Refused | None:
    if preview.plan_expires_at is None or preview.plan_expires_at <= timezone.now():
        return Refused("preview_expired", f"The preview is older than its quotes may be. {NEW_PREVIEW}")
    later = RebalanceRun.objects.filter(account_id=preview.account_id, pk__gt=preview.pk).exclude(
        state__in=(RunState.REFUSED, RunState.SUPERSEDED, RunState.FAILED)
    )
    if newer := later.first():
        return Refused("preview_superseded", f"Run {newer.run_id} is newer than this preview. {NEW_PREVIEW}")
    return None


def execute_preview(
    preview: RebalanceRun,
    person: User,
    *,
    digest: str,
    typed_account_id: str = "",
    code: str = "",
    source: EventSource = EventSource.ADMIN,
) -> RebalanceRun:
    """Queues the execution of exactly the plan that the person saw; the same click twice is one run.

    Raises:
        Refused: nothing was sent; the message says why.
    """
    if hasattr(preview, "execution") and preview.execution.requested_by_id == person.pk:
        return preview.execution
    if refusal := why_not(preview, person):
        raise refusal
    if digest != preview.plan_hash:
        raise Refused("plan_hash_mismatch", f"The plan on your page is not the one that is stored. {NEW_PREVIEW}")
    # The bearer of a token was verified when it was made.
    confirm_live(preview.account, person, typed_account_id, code if source == EventSource.ADMIN else None)
    note("approved", f"{preview}", f"Account {preview.account.account_id}, plan {digest}.", person=person)
    return request_run(
        preview.account,
        ExecCommand.REBALANCE,
        source=source,
        # One id for the preview: a second click, in whatever tab, is the same event.
        message_id=f"execute-{preview.run_id}",
        requested_by=person,
        approved=preview,
    )


def request_stop(run: RebalanceRun, person: User) -> None:
    """Asks a run to send no more orders; what is sent stays as it is.

    Raises:
        Refused: the person has no right, or the run has ended.
    """
    if not may_execute(person, run.account):
        raise Refused("not_permitted", "You may not stop this run. Ask someone with the right to execute.")
    if not runs.request_stop(run.pk, str(person)):
        raise Refused("run_ended", "The run has ended: there is nothing to stop.")
    note("asked to stop", f"{run}", f"Account {run.account.account_id}.", person=person)
