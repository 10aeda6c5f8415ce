"""The entry point for rebalance requests: each becomes an event and its queued runs, in one transaction."""

from datetime import datetime, timedelta

from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts.models import Account, Strategy
from trading.common.fail_points import FailPoint, reached
from trading.errors import EventRejected
from trading.guards.account import check_enabled, check_environment
from trading.inbox.payload import (
    MAX_MESSAGE_ID,
    parse_command,
    parse_payload,
    storable,
    store_duplicate,
    stored_id,
    text_and_digest,
)
from trading.journal.outbox import notify_event_not_accepted
from trading.journal.queueing import Refusal, queue_runs, record_refusals
from trading.models import EventSource, EventState, RebalanceRun, RunMode, StrategyEvent
from trading.models.run_documents import ExecCommand
from trading.queue.wake import wake_slot

MAX_CHANNEL = 64
"""Maximum length of a stored channel name, in characters."""
MAX_PAYLOAD_BYTES = 65_536
"""Maximum size of an event's payload. Of a larger one, the first `KEPT_OF_LARGE_PAYLOAD` characters are stored."""
KEPT_OF_LARGE_PAYLOAD = 1000
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
        published_at: time by the clock of the service that delivered it.
        serial: order among messages with the same time.
        requested_by: the user who requested it, if any.
        approved: the preview whose plan is executed.
    """
    text, digest = text_and_digest(payload)
    size = len(text.encode())
    event = StrategyEvent(
        source=source,
        channel=storable(channel)[:MAX_CHANNEL],
        message_id=stored_id(message_id),
        payload=text if size <= MAX_PAYLOAD_BYTES else text[:KEPT_OF_LARGE_PAYLOAD],
        payload_digest=digest,
        published_at=published_at or timezone.now(),
        serial=storable(serial)[:MAX_MESSAGE_ID],
        requested_by=requested_by,
    )
    try:
        with transaction.atomic():
            runs = _store(event, payload, approved, size)
            notify_event_not_accepted(event)
            for connection_id in {run.connection_id for run in runs}:
                wake_slot(connection_id)
            reached(FailPoint.EVENT_WRITTEN)
    except IntegrityError:
        known = StrategyEvent.objects.filter(source=source, channel=event.channel, message_id=event.message_id).first()
        if known is None:
            raise
        return store_duplicate(known, event)
    reached(FailPoint.EVENT_COMMITTED)
    return event


def _store(event: StrategyEvent, payload: object, approved: RebalanceRun | None, size: int) -> list[RebalanceRun]:
    """Store the event as accepted, late or rejected; return its queued runs."""
    try:
        _check_size(size)
        data = parse_payload(payload, event.payload)
        event.exec, event.account_id = storable(data.exec), storable(data.account_id or "")
        event.event_id = storable(data.event_id or "")
        command = parse_command(data.exec)
        strategy = _strategy(event.channel)
        accounts = _accounts(strategy, data.account_id)
        mode = _mode_by_lateness(event, strategy, MODES[command])
    except EventRejected as rejection:
        event.state, event.reason_code, event.reason = EventState.REJECTED, rejection.code, storable(rejection.message)
        event.save(force_insert=True)
        return []
    event.state = event.state or EventState.ACCEPTED
    event.save(force_insert=True)
    refusals = [refusal for account in accounts if (refusal := _refusal(account, mode))]
    refused = {refusal.account.pk for refusal in refusals}
    record_refusals(event, mode, refusals)
    remaining = [account for account in accounts if account.pk not in refused]
    return queue_runs(event, remaining, mode, approved=approved, requested_by=event.requested_by)


def _check_size(size: int) -> None:
    if size > MAX_PAYLOAD_BYTES:
        message = f"The message has {size} bytes; at most {MAX_PAYLOAD_BYTES} are accepted. Send less data."
        raise EventRejected("payload_too_large", message)


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
    age = timezone.now() - event.published_at
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


def _refusal(account: Account, mode: RunMode) -> Refusal | None:
    """Return why the account's run is refused at once: visible as a refused run, without a notification."""
    checks = (check_enabled, check_environment) if mode == RunMode.EXECUTE else (check_enabled,)
    failed = (guard for check in checks if not (guard := check(account)).passed)
    return next((Refusal(account, guard.code, guard.message) for guard in failed), None)
