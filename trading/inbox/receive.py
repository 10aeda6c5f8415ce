"""The entry point for rebalance requests: each becomes an event and its queued runs, in one transaction."""

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta

from django.contrib.auth.models import User
from django.db import IntegrityError, InterfaceError, OperationalError, transaction

from accounts.models import Account, Strategy
from trading.common.clock import database_now
from trading.common.fail_points import FailPoint, reached
from trading.errors import EventRejected
from trading.guards.may_trade import check_enabled, refusals_to_queue
from trading.inbox.broken_events import record_failure, stored_payload
from trading.inbox.payload import (
    new_event,
    parse_command,
    parse_payload,
    storable,
    store_duplicate,
)
from trading.journal.outbox import notify_event_not_accepted
from trading.journal.queueing import Refusal, queue_runs, record_refusals
from trading.journal.runs import SUPERSEDED
from trading.models import EventSource, EventState, RebalanceRun, RunMode, RunState, StrategyEvent
from trading.models.run_documents import ExecCommand
from trading.queue.wake import wake_slot

logger = logging.getLogger("rebalancer.trading")

MODES = {ExecCommand.REBALANCE: RunMode.EXECUTE, ExecCommand.PRINT_REBALANCE: RunMode.PREVIEW}


def request_run(
    account: Account,
    command: ExecCommand,
    *,
    source: EventSource,
    message_id: str,
    requested_by: User | None = None,
    approved: RebalanceRun | None = None,
) -> RebalanceRun:
    """Request a run of one account, for a user or a command. Return it: queued, or refused with a reason.

    Raises:
        EventRejected: no run was made.
    """
    event = receive_event(
        source=source,
        message_id=message_id,
        payload={"exec": str(command), "account_id": account.account_id},
        requested_by=requested_by,
        approved=approved,
    )
    run = event.runs.select_related("account", "event").first()
    if run is None:
        raise EventRejected(event.reason_code, event.reason)
    return run


def receive_event(
    *,
    source: EventSource,
    channel: str = "",
    message_id: str,
    payload: object,
    published_at: datetime | None = None,
    serial: str = "",
    requested_by: User | None = None,
    approved: RebalanceRun | None = None,
) -> StrategyEvent:
    """Store an event exactly once, whatever its content, and queue its runs. Its `state` is the outcome.

    Args:
        source: where the request comes from.
        channel: the strategy's name; empty if `account_id` alone selects the account.
        message_id: unique within source and channel. A repeated id changes nothing.
        payload: a JSON object, or text that contains one. Stored as received. `Unreadable` is stored and rejected.
        published_at: time by the clock of the service that delivered it; by default, now by the database's clock.
        serial: order among messages with the same time.
        requested_by: the user who requested it, if any.
        approved: the preview whose plan is executed.
    """
    event = new_event(source, channel, message_id, payload, published_at, serial)
    event.requested_by = requested_by
    try:
        with transaction.atomic():
            process_event(event, payload, approved)
    except IntegrityError:
        known = StrategyEvent.objects.filter(source=source, channel=event.channel, message_id=event.message_id).first()
        if known is None:
            raise
        known = store_duplicate(known, event)
        return retry_event(known.pk) if known.state == EventState.BROKEN else known
    reached(FailPoint.EVENT_COMMITTED)
    return event


def retry_event(pk: int) -> StrategyEvent:
    """Process a stored event whose processing failed. Return it: accepted, late, rejected, or broken again.

    Raises:
        OperationalError, InterfaceError: the database is unavailable; nothing has changed.
    """
    try:
        with transaction.atomic():
            event = StrategyEvent.objects.select_for_update().get(pk=pk)
            if event.state == EventState.BROKEN:
                payload = stored_payload(event)
                event.state = event.reason_code = event.reason = ""
                event.next_attempt_at = None
                process_event(event, payload)
    except (OperationalError, InterfaceError):
        raise
    except Exception:  # whatever the error is, it is ours: the event stays, and is processed again
        logger.exception("Event %s could not be processed", pk)
        return record_failure(pk)
    return event


def process_event(event: StrategyEvent, payload: object, approved: RebalanceRun | None = None) -> None:
    """Decide on the event, store it, queue its runs and wake their slots; in the caller's transaction."""
    runs = _store(event, payload, approved)
    _report_superseded(event, [run for run in runs if run.state == RunState.SUPERSEDED])
    notify_event_not_accepted(event)
    for connection_id in {run.connection_id for run in runs}:
        wake_slot(connection_id)
    reached(FailPoint.EVENT_WRITTEN)


def _report_superseded(event: StrategyEvent, superseded: Sequence[RebalanceRun]) -> None:
    """Record on the event that runs of newer events replaced its runs at once."""
    if superseded:
        event.reason_code = event.reason_code or SUPERSEDED
        event.reason = f"{event.reason} Accounts with a newer event: {len(superseded)}. {superseded[0].error_message}"
        event.reason = event.reason.strip()
        event.save(update_fields=["reason_code", "reason"])


def _store(event: StrategyEvent, payload: object, approved: RebalanceRun | None) -> list[RebalanceRun]:
    """Store the event as accepted, late or rejected; return its queued runs."""
    try:
        data = parse_payload(payload, event.payload)
        event.exec, event.account_id = storable(data.exec), storable(data.account_id or "")
        event.event_id = storable(data.event_id or "")
        command = parse_command(data.exec)
        strategy = _strategy(event.channel)
        accounts = _accounts(strategy, data.account_id)
        mode = _mode_by_lateness(event, strategy, MODES[command])
    except EventRejected as rejection:
        event.state, event.reason_code, event.reason = EventState.REJECTED, rejection.code, storable(rejection.message)
        event.save()
        return []
    event.state = event.state or EventState.ACCEPTED
    event.save()
    refused = _refusals(accounts, mode, event.requested_by)
    record_refusals(
        event, mode, [Refusal(account, *refused[account.pk]) for account in accounts if account.pk in refused]
    )
    remaining = [account for account in accounts if account.pk not in refused]
    return queue_runs(event, remaining, mode, approved=approved)


def _strategy(channel: str) -> Strategy | None:
    if not channel:
        return None
    strategy = Strategy.objects.filter(name=channel).first()
    if strategy is None:
        raise EventRejected("unknown_strategy", f"There is no strategy {channel!r}.")
    if not strategy.enabled:
        raise EventRejected("strategy_disabled", f"The strategy {channel} is disabled. Enable it in the admin.")
    return strategy


def _accounts(strategy: Strategy | None, account_id: str | None) -> list[Account]:
    """Return the accounts that the event concerns."""
    known = Account.objects.with_followed_strategy().select_related("connection")
    if account_id is not None:
        account = known.filter(account_id=account_id).first()
        if account is None:
            raise EventRejected("unknown_account", f"There is no account {account_id!r}.")
        if strategy and account.followed_strategy != strategy:
            raise EventRejected("account_of_other_strategy", f"Account {account_id} does not follow {strategy.name}.")
        return [account]
    if strategy is None:
        raise EventRejected("no_accounts", "The message names neither a strategy nor an account.")
    followers = list(known.following(strategy.name).order_by("account_id"))
    if not followers:
        raise EventRejected("no_accounts", f"No account follows the strategy {strategy.name}.")
    return followers


def _mode_by_lateness(event: StrategyEvent, strategy: Strategy | None, mode: RunMode) -> RunMode:
    """Return the mode of the runs; a late event is marked and handled by its strategy's policy."""
    if strategy is None:
        return mode
    age = database_now() - event.published_at
    if age <= timedelta(seconds=strategy.late_after_seconds):
        return mode
    event.state, event.reason_code = EventState.LATE, "late_event"
    event.reason = f"Received {int(age.total_seconds())} seconds after publication"
    if strategy.late_event_policy == "skip":
        raise EventRejected("late_event", f"{event.reason}; skipped by the strategy's policy.")
    if strategy.late_event_policy == "run":
        event.reason += "; executed by the strategy's policy."
        return mode
    event.reason += "; only previewed by the strategy's policy."
    return RunMode.PREVIEW


def _refusals(accounts: Sequence[Account], mode: RunMode, user: User | None) -> dict[int, tuple[str, str]]:
    """Return code and message for each account (by primary key) whose run is refused at once."""
    if mode == RunMode.EXECUTE:
        failed = refusals_to_queue(accounts, user)
    else:
        enabled = {account.pk: check_enabled(account) for account in accounts}
        failed = {pk: result for pk, result in enabled.items() if not result.passed}
    return {pk: (result.code, result.message) for pk, result in failed.items()}
