"""Create the runs of an event: queued, superseded or refused. All accounts take a few statements."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from accounts.models import Account
from trading.access.two_factor import is_verified
from trading.journal.outbox import notify_run_ended
from trading.journal.runs import SUPERSEDED, supersede_all, write_entries
from trading.models import RebalanceRun, RunMode, RunOutcome, RunState, RunStep, StrategyEvent, TimelineEntry

WAITING = (RunState.QUEUED, RunState.DEFERRED)
NOT_REPORTED = {"account_disabled", "wrong_environment"}
"""Codes of refusals that cause no notification: the account is not meant to be traded by this installation."""


@dataclass(frozen=True)
class Refusal:
    """Reason why an event cannot queue a run of an account."""

    account: Account
    code: str
    message: str


def queue_runs(
    event: StrategyEvent,
    accounts: Sequence[Account],
    mode: RunMode,
    *,
    approved: RebalanceRun | None = None,
) -> list[RebalanceRun]:
    """Queue a run of each account; of an account's waiting runs, the one of the newest event supersedes the others.

    Returns:
        The new runs: queued, or superseded where a run of a newer event exists. Their times are not read back.
    """
    pks = [account.pk for account in accounts]
    with transaction.atomic():
        # Locked for one event at a time, in the order of the keys, so that two events cannot deadlock.
        list(Account.objects.select_for_update(no_key=True).filter(pk__in=pks).order_by("pk").values_list("pk"))
        # Locked, so that no worker claims one of them between this query and the move.
        waiting = list(
            RebalanceRun.objects.select_for_update(of=("self",), no_key=True)
            .filter(account__in=pks, mode=mode, state__in=WAITING)
            .select_related("event")
            .order_by("pk")
        )
        # Compared here and not in the database, whose collation may sort serials differently.
        known = [*_started(event, pks, mode), *waiting]
        newer = {run.account_id: run for run in known if run.event.order > event.order}
        outdated = [run.pk for run in waiting if run.account_id not in newer]
        supersede_all(outdated, f"Superseded by a newer event (number {event.pk}).")
        runs = RebalanceRun.objects.bulk_create(
            _new_run(
                event,
                account,
                mode,
                approved_preview=approved,
                **_outcome(newer.get(account.pk)),
            )
            for account in accounts
        )
        requester = event.requested_by or event.get_source_display()
        write_entries(TimelineEntry(run=run, code="queued", message=f"Requested by {requester}.") for run in runs)
        write_entries(
            TimelineEntry(run=run, code=SUPERSEDED, message=run.error_message)
            for run in runs
            if run.account_id in newer
        )
    return runs


def record_refusals(event: StrategyEvent, mode: RunMode, refusals: Sequence[Refusal]) -> None:
    """Create runs of an event that are refused before they are queued, each with its reason, and notify."""
    with transaction.atomic():
        runs = RebalanceRun.objects.bulk_create(
            _new_run(
                event,
                refusal.account,
                mode,
                state=RunState.REFUSED,
                outcome=RunOutcome.REFUSED,
                step=RunStep.DONE,
                finished_at=Now(),
                error_code=refusal.code,
                error_message=refusal.message,
            )
            for refusal in refusals
        )
        write_entries(
            TimelineEntry(run=run, code=run.error_code, message=run.error_message, level="warning") for run in runs
        )
        for run in runs:
            if run.error_code not in NOT_REPORTED:
                notify_run_ended(run)


def _new_run(event: StrategyEvent, account: Account, mode: RunMode, **fields: object) -> RebalanceRun:
    user = event.requested_by
    return RebalanceRun(
        account=account,
        event=event,
        connection_id=account.connection_id,
        strategy_name=account.followed_strategy.name if account.followed_strategy else "",
        mode=mode,
        requested_by=user,
        requester_name=str(user) if user else "",
        requester_verified=user is not None and is_verified(user),
        **fields,
    )


def _started(event: StrategyEvent, accounts: Iterable[int], mode: RunMode) -> QuerySet[RebalanceRun]:
    """Return the account's started runs of newer events of the channel: they used newer targets than this event."""
    if not event.channel:
        return RebalanceRun.objects.none()
    return RebalanceRun.objects.filter(
        account__in=accounts,
        mode=mode,
        state__in=(RunState.RUNNING, RunState.COMPLETED, RunState.STOPPED),
        event__source=event.source,
        event__channel=event.channel,
        event__published_at__gte=event.published_at,
    ).select_related("event")


def _outcome(newer: RebalanceRun | None) -> dict[str, object]:
    """Return the fields of a new run: queued, or superseded by a run of a newer event."""
    if newer is None:
        return {"state": RunState.QUEUED}
    state = "is already waiting" if newer.state in WAITING else "has started"
    message = f"Run {newer.run_id} of a newer event ({newer.event_id}) {state}."
    return {
        "state": RunState.SUPERSEDED,
        "step": RunStep.DONE,
        "finished_at": Now(),
        "error_code": SUPERSEDED,
        "error_message": message,
    }
