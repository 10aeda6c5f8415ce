"""The runs of an event: queued, superseded by what is newer, or refused at once. All accounts in a few statements."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from accounts.models import Account
from trading.journal.runs import note_each, supersede_all
from trading.models import RebalanceRun, RunMode, RunState, RunStep, StrategyEvent

WAITING = (RunState.QUEUED, RunState.DEFERRED)


@dataclass(frozen=True)
class Refusal:
    """Why an event makes no run of an account that could wait."""

    account: Account
    code: str
    message: str


def queue_runs(
    event: StrategyEvent,
    accounts: Sequence[Account],
    mode: RunMode,
    *,
    approved: RebalanceRun | None = None,
    requested_by: User | None = None,
) -> list[RebalanceRun]:
    """Queues a run of each account; of those that wait for an account, only the one of the newest event stays.

    Returns:
        The new runs: queued, or superseded where a newer event's run waits already. Their times are not read back.
    """
    pks = [account.pk for account in accounts]
    with transaction.atomic():
        # One event at a time for each account, and in one order, so that no two of them wait for each other.
        list(Account.objects.select_for_update(no_key=True).filter(pk__in=pks).order_by("pk").values_list("pk"))
        # Locked, so that none of them is taken up by a worker between this look and the move.
        waiting = list(
            RebalanceRun.objects.select_for_update(of=("self",), no_key=True)
            .filter(account__in=pks, mode=mode, state__in=WAITING)
            .select_related("event")
            .order_by("pk")
        )
        # Compared here and not in the database, whose collation may order serials in another way.
        known = [*_taken_up(event, pks, mode), *waiting]
        newer = {run.account_id: run for run in known if run.event.order > event.order}
        outdated = [run.pk for run in waiting if run.account_id not in newer]
        supersede_all(outdated, f"A newer event (number {event.pk}) has taken its place.")
        runs = RebalanceRun.objects.bulk_create(
            _new_run(
                event,
                account,
                mode,
                approved_preview=approved,
                requested_by=requested_by,
                state=RunState.SUPERSEDED if account.pk in newer else RunState.QUEUED,
                finished_at=Now() if account.pk in newer else None,
            )
            for account in accounts
        )
        asked = f"Asked for by {event.get_source_display()}."
        note_each([(run.pk, "queued", asked) for run in runs])
        note_each([(run.pk, "superseded", _why(newer[run.account_id])) for run in runs if run.account_id in newer])
    return runs


def record_refusals(event: StrategyEvent, mode: RunMode, refusals: Sequence[Refusal]) -> None:
    """Records that runs of an event were refused before they could wait, each with its reason."""
    with transaction.atomic():
        runs = RebalanceRun.objects.bulk_create(
            _new_run(
                event,
                refusal.account,
                mode,
                state=RunState.REFUSED,
                step=RunStep.DONE,
                finished_at=Now(),
                error_code=refusal.code,
                error_message=refusal.message,
            )
            for refusal in refusals
        )
        note_each([(run.pk, run.error_code, run.error_message) for run in runs], "warning")


def _new_run(event: StrategyEvent, account: Account, mode: RunMode, **fields: object) -> RebalanceRun:
    return RebalanceRun(
        account=account,
        event=event,
        connection_id=account.connection_id,
        strategy_name=account.strategy.name if account.strategy else "",
        mode=mode,
        **fields,
    )


def _taken_up(event: StrategyEvent, accounts: Iterable[int], mode: RunMode) -> QuerySet[RebalanceRun]:
    """Runs that an older event of the same channel comes too late for: they saw newer targets than it asks for."""
    if not event.channel:
        return RebalanceRun.objects.none()
    return RebalanceRun.objects.filter(
        account__in=accounts,
        mode=mode,
        state__in=(RunState.RUNNING, RunState.COMPLETED),
        event__source=event.source,
        event__channel=event.channel,
        event__published_at__gte=event.published_at,
    ).select_related("event")


def _why(newer: RebalanceRun) -> str:
    what = "waits already" if newer.state in WAITING else "was taken up already"
    return f"Run {newer.run_id} of a newer event {what}."
