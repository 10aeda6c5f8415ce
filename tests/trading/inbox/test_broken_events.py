"""Events whose processing failed by a fault of the installation: nothing is final, and a replay is no conflict."""

from datetime import timedelta

import pytest
from django.db import OperationalError, ProgrammingError, connection
from django.utils import timezone

from tests.support.makers import policy, simulated_account, strategy
from trading.inbox.broken_events import MAX_ATTEMPTS
from trading.inbox.receive import receive_event, retry_event
from trading.listener.intake import _store
from trading.listener.messages import Received
from trading.models import EventSource, Notification, RebalanceRun, StrategyEvent
from trading.models.run_documents import Unreadable
from trading.schedule.sweeper import sweep

pytestmark = pytest.mark.django_db

GOOD = {"exec": "rebalance"}
QUEUE_RUNS = "trading.inbox.receive.queue_runs"


@pytest.fixture(autouse=True)
def account(db):
    return simulated_account("U1", {"SPY": "1"}, strategy=strategy("blend", {"SPY": "1"}), policy=policy())


def message(payload=GOOD, message_id="m-1"):
    return Received(channel="blend", message_id=message_id, published_at=timezone.now(), serial="1", payload=payload)


def fail(error):
    def failing(*_, **__):
        raise error

    return failing


@pytest.fixture
def broken(monkeypatch):
    """An event whose processing has failed once."""
    with monkeypatch.context() as patch:
        patch.setattr(QUEUE_RUNS, fail(ProgrammingError('column "added" does not exist')))
        assert _store([message()]) == (1, None)
    event = StrategyEvent.objects.get()
    assert (event.state, event.reason_code, event.failures) == ("broken", "internal_error", 1)
    assert not RebalanceRun.objects.exists()
    return event


def make_due():
    StrategyEvent.objects.update(next_attempt_at=timezone.now() - timedelta(seconds=1))


@pytest.mark.parametrize("error", [RuntimeError("unexpected"), ProgrammingError("no such column"), KeyError("x")])
def test_store_with_an_unexpected_error_keeps_the_event_with_its_digest(monkeypatch, error):
    monkeypatch.setattr(QUEUE_RUNS, fail(error))
    assert _store([message()]) == (1, None)
    event = StrategyEvent.objects.get()
    digest = event.payload_digest
    assert (event.state, event.next_attempt_at > timezone.now()) == ("broken", True)
    assert Notification.objects.get().title == "Event broken: blend (internal_error)"
    event.delete()
    monkeypatch.undo()
    _store([message()])
    assert StrategyEvent.objects.get().payload_digest == digest


def test_replay_of_a_broken_event_is_processed_at_once(broken):
    assert _store([message()]) == (1, None)
    event = StrategyEvent.objects.get()
    assert (event.pk, event.state, event.reason_code, event.duplicates) == (broken.pk, "accepted", "", 1)
    assert event.next_attempt_at is None
    assert event.runs.get().state == "queued"


def test_sweep_processes_a_broken_event_when_it_is_due(broken):
    sweep()
    assert not RebalanceRun.objects.exists()
    make_due()
    sweep()
    sweep()
    assert StrategyEvent.objects.get().state == "accepted"
    assert RebalanceRun.objects.get().state == "queued"


def test_broken_event_is_tried_a_bounded_number_of_times_with_growing_waits(broken, monkeypatch):
    waits = []
    with monkeypatch.context() as patch:
        patch.setattr(QUEUE_RUNS, fail(RuntimeError("still")))
        for _ in range(MAX_ATTEMPTS + 3):
            make_due()
            sweep()
            event = StrategyEvent.objects.get()
            if event.next_attempt_at is None:
                break
            waits.append(round((event.next_attempt_at - timezone.now()).total_seconds(), -1))
    assert (event.state, event.failures, len(waits)) == ("broken", MAX_ATTEMPTS, MAX_ATTEMPTS - 2)
    assert waits == [30, 60, 120, 240, 480, 600, 600, 600]
    assert Notification.objects.filter(title=f"Event {event.pk} of blend was not processed").count() == 1
    assert retry_event(event.pk).state == "accepted"


def test_retry_while_the_database_is_unavailable_counts_no_failure(broken, monkeypatch):
    monkeypatch.setattr(QUEUE_RUNS, fail(OperationalError("connection refused")))
    with pytest.raises(OperationalError):
        retry_event(broken.pk)
    assert StrategyEvent.objects.get().failures == 1


def test_undecodable_message_whose_processing_failed_is_never_acted_on(monkeypatch):
    """Its text may parse; an attempt later must reject it all the same."""
    unreadable = message(Unreadable(content='{"exec": "rebalance"}', why="unsupported encoding 'x'"))
    with monkeypatch.context() as patch:
        patch.setattr("trading.inbox.receive.notify_event_not_accepted", fail(RuntimeError("unexpected")))
        _store([unreadable])
    event = StrategyEvent.objects.get()
    assert event.state == "broken"
    event = retry_event(event.pk)
    assert (event.state, event.reason_code) == ("rejected", "payload_undecodable")
    assert not RebalanceRun.objects.exists()


def test_store_of_a_broken_event_does_not_depend_on_the_outbox(monkeypatch):
    monkeypatch.setattr(QUEUE_RUNS, fail(ProgrammingError("no such column")))
    monkeypatch.setattr(
        "trading.inbox.broken_events.notify_event_not_accepted", fail(ProgrammingError("no such table"))
    )
    assert _store([message()]) == (1, None)
    assert StrategyEvent.objects.get().state == "broken"


def test_late_retry_of_a_broken_event_follows_the_strategys_policy(broken):
    StrategyEvent.objects.update(published_at=timezone.now() - timedelta(hours=1))
    event = retry_event(broken.pk)
    assert (event.state, event.reason_code, event.runs.get().mode) == ("late", "late_event", "preview")


@pytest.mark.django_db(transaction=True)
def test_message_during_a_migration_of_another_table_is_executed_afterwards(account):
    """A real missing column, on both databases."""
    with connection.schema_editor() as editor:
        editor.execute("ALTER TABLE trading_rebalancerun RENAME COLUMN strategy_name TO renamed")
    try:
        stored, error = _store([message()])
    finally:
        with connection.schema_editor() as editor:
            editor.execute("ALTER TABLE trading_rebalancerun RENAME COLUMN renamed TO strategy_name")
    if error is None:
        assert StrategyEvent.objects.get().state == "broken"
        make_due()
        sweep()
    else:  # SQLite reports a missing column as an unavailable database: the listener keeps the message
        assert (stored, StrategyEvent.objects.count()) == (0, 0)
        _store([message()])
    assert RebalanceRun.objects.get().state == "queued"


@pytest.mark.parametrize("source", [EventSource.API, EventSource.COMMAND, EventSource.SCHEDULE, EventSource.ADMIN])
def test_request_that_failed_unexpectedly_stores_nothing_and_can_be_repeated(monkeypatch, source):
    fields = {"source": source, "channel": "blend", "message_id": "m-1", "payload": GOOD}
    with monkeypatch.context() as patch:
        patch.setattr(QUEUE_RUNS, fail(ProgrammingError("no such column")))
        with pytest.raises(ProgrammingError):
            receive_event(**fields)
    assert not StrategyEvent.objects.exists()
    assert receive_event(**fields).state == "accepted"
