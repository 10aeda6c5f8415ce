"""Readiness probes: problems are reported before the open."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from django_q.models import OrmQ

from brokers.simulated.faults import Kind, set_fault
from tests.support.makers import strategy
from trading.journal.leases import claim_lease
from trading.models import AccountStanding, Notification, ScheduledJob
from trading.schedule.entries import schedule_account
from trading.schedule.sweeper import run_calendar
from trading.tasks import check_readiness

pytestmark = pytest.mark.django_db(transaction=True)
DUE = datetime(2026, 11, 25, 9, 30, tzinfo=ZoneInfo("America/New_York")).isoformat()


def notifications():
    return list(Notification.objects.filter(title__startswith="Not ready").values_list("title", "body"))


@pytest.fixture
def waiting(make_account, clock):
    """An account that is scheduled for Wednesday's open."""
    clock("2026-11-25 08:00")
    account = make_account()
    schedule_account(account)
    return account


def test_sweep_enqueues_a_probe_half_an_hour_before_the_open(waiting, clock):
    clock("2026-11-25 08:59")
    run_calendar()
    assert not OrmQ.objects.exists()
    clock("2026-11-25 09:00:05")
    run_calendar()
    assert OrmQ.objects.count() == 1
    assert check_readiness(waiting.connection_id, DUE) == "Broker, quotes, targets and guards are ready."
    assert AccountStanding.objects.get().state == "outside"
    OrmQ.objects.all().delete()
    run_calendar()
    assert not OrmQ.objects.exists() and notifications() == []
    clock("2026-11-25 09:25:05")
    run_calendar()
    assert OrmQ.objects.count() == 1
    check_readiness(waiting.connection_id, DUE)
    assert check_readiness(waiting.connection_id, DUE) == "already checked"
    assert ScheduledJob.objects.filter(kind="ready", succeeded=True).count() == 2


def test_probe_with_unreachable_broker_or_paused_account_notifies(waiting, clock):
    clock("2026-11-25 09:00:05")
    set_fault(Kind.CONNECT_REFUSED)
    check_readiness(waiting.connection_id, DUE)
    ((title, body),) = notifications()
    assert title == "Not ready for the open at 09:30 New York time, in 30 minutes"
    assert "cannot be reached" in body
    waiting.trading_paused = True
    waiting.save()
    clock("2026-11-25 09:25:05")
    check_readiness(waiting.connection_id, DUE)
    assert any("in 5 minutes" in title and "paused" in body for title, body in notifications())


def test_probe_with_unavailable_targets_notifies(make_account, clock):
    clock("2026-11-25 09:10")
    account = make_account(strategy=strategy("published"))  # no allocations service is configured
    schedule_account(account)
    check_readiness(account.connection_id, DUE)
    assert len(notifications()) == 1 and "U1:" in notifications()[0][1]


def test_probe_of_a_busy_slot_is_repeated(waiting, clock):
    clock("2026-11-25 09:00:05")
    claim_lease(waiting.connection_id, "somebody")
    assert "busy" in check_readiness(waiting.connection_id, DUE)
    assert ScheduledJob.objects.get().finished_at is None
    assert check_readiness(waiting.connection_id, DUE) != "already checked"
