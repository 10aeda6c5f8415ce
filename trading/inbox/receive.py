"""The one door: every request for a rebalance becomes an event here, and its runs, in one transaction."""

import hashlib
import json
from collections.abc import Sequence
from datetime import datetime, timedelta

from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.db.models import F
from django.utils import timezone
from pydantic import ValidationError

from accounts.models import Account, Strategy
from trading.common.fail_points import FailPoint, reached
from trading.errors import EventRejected
from trading.guards.account import is_of_another_environment
from trading.journal.outbox import notify_event_not_accepted
from trading.journal.queueing import Refusal, queue_runs, record_refusals
from trading.models import EventSource, EventState, RebalanceRun, RunMode, StrategyEvent
from trading.models.run_documents import EventData, ExecCommand, Unreadable
from trading.queue.wake import wake_slot

LONGEST_CHANNEL, LONGEST_MESSAGE_ID = 64, 160
MODES = {ExecCommand.REBALANCE: RunMode.EXECUTE, ExecCommand.PRINT_REBALANCE: RunMode.PREVIEW}


def receive_event(
    *,
    source: EventSource,
    channel: str,
    message_id: str,
    payload: object,
    published_at: datetime | None = None,
    serial: str = "",
    requested_by: User | None = None,
    approved: RebalanceRun | None = None,
) -> StrategyEvent:
    """Takes an event in, exactly once, whatever it holds, and queues its runs.

    Args:
        source: the door.
        channel: the strategy's name; empty when `account_id` alone says which account is meant.
        message_id: unique for source and channel. The same one again changes nothing.
        payload: a JSON object, or text that holds one. Kept as it came. `Unreadable` is kept and rejected.
        published_at: by the clock of the service that carried it.
        serial: its place among messages of the same instant.
        requested_by: the person, if there is one.
        approved: the preview whose plan is to be executed.

    Returns:
        The stored event; its `state` says what became of it.
    """
    unreadable = payload.why if isinstance(payload, Unreadable) else ""
    text, digest = _text_and_digest(payload)
    channel, message_id = _storable(channel)[:LONGEST_CHANNEL], _short(_storable(message_id))
    event = StrategyEvent(
        source=source,
        channel=channel,
        message_id=message_id,
        payload=text,
        payload_digest=digest,
        published_at=published_at or timezone.now(),
        serial=_storable(serial)[:LONGEST_MESSAGE_ID],
        requested_by=requested_by,
    )
    try:
        with transaction.atomic():
            runs = _take_in(event, approved, unreadable)
            notify_event_not_accepted(event)
            for connection_id in {run.connection_id for run in runs}:
                wake_slot(connection_id)
            reached(FailPoint.EVENT_WRITTEN)
    except IntegrityError:
        known = StrategyEvent.objects.filter(source=source, channel=channel, message_id=message_id).first()
        if known is None:
            raise
        return _came_again(known, event)
    reached(FailPoint.EVENT_COMMITTED)
    return event


def known_messages(source: EventSource, channel: str, messages: Sequence[tuple[str, object]]) -> set[int]:
    """Which of the messages, pairs of id and payload, `receive_event` would find to be here already, unchanged.

    Returns:
        Their places in `messages`.
    """
    keys = [(_short(_storable(message_id)), _text_and_digest(payload)[1]) for message_id, payload in messages]
    ids = {message_id for message_id, _ in keys} | {_conflict_id(*key) for key in keys}
    stored = StrategyEvent.objects.filter(source=source, channel=channel, message_id__in=ids)
    digests = dict(stored.values_list("message_id", "payload_digest"))
    return {
        index
        for index, (message_id, digest) in enumerate(keys)
        if digest in {digests.get(message_id), digests.get(_conflict_id(message_id, digest))}
    }


def _text_and_digest(payload: object) -> tuple[str, str]:
    """The payload as it is kept, and what tells it from another one."""
    content = payload.content if isinstance(payload, Unreadable) else payload
    text = _storable(content if isinstance(content, str) else json.dumps(content, default=str))
    return text, hashlib.sha256(text.encode()).hexdigest()


def _take_in(event: StrategyEvent, approved: RebalanceRun | None, unreadable: str) -> list[RebalanceRun]:
    """Classifies the event, stores it, and queues its runs."""
    try:
        data = _parse(event.payload, unreadable)
        event.exec, event.account_id = _storable(data.exec), _storable(data.account_id or "")
        event.event_id = _storable(data.event_id or "")
        command = _command(data.exec)
        accounts = _accounts(event.channel, data.account_id)
        mode = _lateness(event, MODES[command])
    except EventRejected as rejection:
        event.state, event.reason_code = EventState.REJECTED, rejection.code
        event.reason = _storable(rejection.message)
        event.save(force_insert=True)
        return []
    event.state = event.state or EventState.ACCEPTED
    event.save(force_insert=True)
    refusals = [refusal for account in accounts if (refusal := _cannot_even_wait(account, mode))]
    refused = {refusal.account.pk for refusal in refusals}
    record_refusals(event, mode, refusals)
    wanted = [account for account in accounts if account.pk not in refused]
    return queue_runs(event, wanted, mode, approved=approved, requested_by=event.requested_by)


def _storable(text: str) -> str:
    """Text that every database takes: no NUL, no half of a surrogate pair."""
    return text.encode("utf-8", "replace").decode().replace("\x00", "\N{REPLACEMENT CHARACTER}")


def _short(message_id: str) -> str:
    """The id, or for one that is longer than a row can hold its beginning and its digest."""
    if len(message_id) <= LONGEST_MESSAGE_ID:
        return message_id
    return f"{message_id[:80]}~{hashlib.sha256(message_id.encode()).hexdigest()}"


def _parse(text: str, unreadable: str) -> EventData:
    if unreadable:
        raise EventRejected("payload_undecodable", f"The message cannot be decoded: {unreadable}.")
    try:
        content = json.loads(text)
        if isinstance(content, str):  # JSON text inside a JSON string
            content = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise EventRejected("payload_not_json", f"The message is not JSON: {error}.") from error
    if not isinstance(content, dict):
        raise EventRejected("payload_not_json", f"The message is a JSON {type(content).__name__}, not an object.")
    try:
        return EventData.model_validate(content)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, item['loc'])) or 'message'}: {item['msg']}" for item in error.errors()
        )
        raise EventRejected("payload_invalid", f"The message is not an event: {problems}.") from error


def _command(word: str) -> ExecCommand:
    try:
        return ExecCommand(word)
    except ValueError as error:
        raise EventRejected("unknown_exec", f"exec is {word!r}; it can be `rebalance` or `print-rebalance`.") from error


def _accounts(channel: str, account_id: str | None) -> list[Account]:
    """The accounts that the event is for."""
    known = Account.objects.select_related("strategy", "connection")
    if channel:
        strategy = Strategy.objects.filter(name=channel).first()
        if strategy is None:
            raise EventRejected("unknown_strategy", f"There is no strategy {channel!r}.")
        if not strategy.enabled:
            raise EventRejected("strategy_disabled", f"The strategy {channel} is disabled; enable it in the admin.")
    if account_id is not None:
        account = known.filter(account_id=account_id).first()
        if account is None:
            raise EventRejected("unknown_account", f"There is no account {account_id!r}.")
        if channel and (account.strategy is None or account.strategy.name != channel):
            raise EventRejected(
                "account_of_other_strategy",
                f"Account {account_id} does not follow {channel}.",
            )
        return [account]
    followers = list(known.filter(strategy__name=channel).order_by("account_id")) if channel else []
    if not followers:
        raise EventRejected("no_accounts", f"No account follows the strategy {channel!r}.")
    return followers


def _lateness(event: StrategyEvent, mode: RunMode) -> RunMode:
    """What the strategy's policy makes of an event that comes late."""
    strategy = Strategy.objects.filter(name=event.channel).first()
    if strategy is None:
        return mode
    age = timezone.now() - event.published_at
    if age <= timedelta(seconds=strategy.late_after_seconds):
        return mode
    event.state, event.reason_code = EventState.LATE, "late_event"
    event.reason = f"It came {int(age.total_seconds())} seconds after it was published"
    if strategy.late_event_policy == "skip":
        raise EventRejected("late_event", f"{event.reason}; the strategy's policy is to skip it.")
    if strategy.late_event_policy == "run":
        event.reason += "; the strategy's policy is to carry it out all the same."
        return mode
    event.reason += "; the strategy's policy is to show a preview only."
    return RunMode.PREVIEW


def _cannot_even_wait(account: Account, mode: RunMode) -> Refusal | None:
    """What skips an account of an event: visible as a refused run, and no news to anybody."""
    if not account.enabled:
        message = f"Account {account.account_id} is disabled; enable it in the admin."
        return Refusal(account, "account_disabled", message)
    if mode == RunMode.EXECUTE and (problem := is_of_another_environment(account)):
        return Refusal(account, "wrong_environment", problem)
    return None


def _came_again(known: StrategyEvent, again: StrategyEvent) -> StrategyEvent:
    """A message id that is here already: counted if it is the same, kept apart and refused if it is not."""
    StrategyEvent.objects.filter(pk=known.pk).update(duplicates=F("duplicates") + 1)
    if known.payload_digest == again.payload_digest:
        known.refresh_from_db()
        return known
    again.pk = None
    again.message_id = _conflict_id(again.message_id, again.payload_digest)
    again.state, again.reason_code = EventState.REJECTED, "conflicting_duplicate"
    again.reason = f"Event {known.pk} has the same message id and another content; this one is not carried out."
    try:
        with transaction.atomic():
            again.save(force_insert=True)
            notify_event_not_accepted(again)
    except IntegrityError:  # the same conflict came before
        return StrategyEvent.objects.get(source=again.source, channel=again.channel, message_id=again.message_id)
    return again


def _conflict_id(message_id: str, digest: str) -> str:
    """Under which a message is kept whose id is taken by another content."""
    return f"{message_id[:140]}#{digest[:12]}"


def request_run(
    account: Account,
    command: ExecCommand,
    *,
    source: EventSource,
    message_id: str,
    requested_by: User | None = None,
    approved: RebalanceRun | None = None,
) -> RebalanceRun:
    """Asks for a run of one account, as a person or a command does, through the same door.

    Returns:
        The run: queued, or refused with a reason.

    Raises:
        EventRejected: the event was not accepted at all.
    """
    payload = {"exec": str(command), "account_id": account.account_id}
    event = receive_event(
        source=source,
        channel="",
        message_id=message_id,
        payload=payload,
        requested_by=requested_by,
        approved=approved,
    )
    run = event.runs.select_related("account", "event").first()
    if run is None:
        raise EventRejected(event.reason_code, event.reason)
    return run
