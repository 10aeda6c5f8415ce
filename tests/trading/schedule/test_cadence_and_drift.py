"""Cadences, which start on first sessions, and drift checks."""

from datetime import date, datetime
from zoneinfo import ZoneInfo

import pytest
from django.utils import timezone

from brokers.exchange_calendar import ExchangeCalendar
from tests.support.makers import carry_out, simulated_account, strategy
from trading.engine.slot_worker import work_slot
from trading.models import Notification, RebalanceRun, ScheduledJob, ScheduleEntry, StrategyEvent
from trading.schedule.cadence import first_open_of_period, next_cadence_open
from trading.schedule.entries import unschedule_account
from trading.schedule.sweeper import run_calendar, sweep

pytestmark = pytest.mark.django_db
SENDS = pytest.mark.django_db(transaction=True)
NEW_YORK = ZoneInfo("America/New_York")
XNYS = ExchangeCalendar("XNYS")


@pytest.mark.parametrize(
    ("cadence", "day", "first"),
    [
        ("weekly", "2026-11-25", "2026-11-23"),
        ("weekly", "2026-09-09", "2026-09-08"),  # Monday is Labor Day
        ("monthly", "2026-11-25", "2026-11-02"),  # the first is a Sunday
        ("monthly", "2027-01-20", "2027-01-04"),  # New Year's Day is a Friday
        ("quarterly", "2026-11-25", "2026-10-01"),
        ("quarterly", "2027-01-04", "2027-01-04"),
    ],
)
def test_first_open_of_period_is_in_the_first_session(cadence, day, first):
    assert first_open_of_period(cadence, date.fromisoformat(day), XNYS).session_date == date.fromisoformat(first)


@pytest.mark.parametrize(
    ("cadence", "now", "coming"),
    [
        ("none", "2026-11-25 10:00", None),
        ("weekly", "2026-11-25 10:00", "2026-11-30"),
        ("weekly", "2026-11-30 09:29", "2026-11-30"),
        ("monthly", "2026-11-25 10:00", "2026-12-01"),
        ("monthly", "2026-01-30 17:00", "2026-02-02"),
        ("quarterly", "2026-11-25 10:00", "2027-01-04"),
    ],
)
def test_next_cadence_open_for_each_cadence(cadence, now, coming):
    found = next_cadence_open(
        strategy("s", {"SPY": "1"}, cadence=cadence), datetime.fromisoformat(now + "-05:00"), XNYS
    )
    assert (found and found.session_date) == (coming and date.fromisoformat(coming))


@pytest.fixture
def monthly(clock, db):
    """Two accounts of a strategy that is rebalanced each month, set up in November."""
    clock("2026-11-20 12:00")
    followed = strategy("monthly", {"SPY": "1"}, cadence="monthly")
    return [simulated_account(account_id, {}, strategy=followed) for account_id in ("U1", "U2")]


def waiting():
    return {
        (entry.account.account_id, f"{entry.due_at.astimezone(NEW_YORK):%m-%d %H:%M}")
        for entry in ScheduleEntry.open_entries()
        if entry.state == "waiting"
    }


def test_cadence_schedules_its_accounts_before_the_open_and_starts_them_once(monthly, clock):
    run_calendar()
    assert waiting() == set()
    clock("2026-11-30 16:30")
    run_calendar()
    run_calendar()
    assert waiting() == {("U1", "12-01 09:30"), ("U2", "12-01 09:30")}
    clock("2026-12-01 09:30:10")
    assert run_calendar() == 2
    clock("2026-12-02 09:30:10")
    assert run_calendar() == 0
    assert RebalanceRun.objects.count() == 2


def test_account_removed_from_a_cadence_stays_removed_until_the_next(monthly, clock):
    clock("2026-11-30 16:30")
    run_calendar()
    unschedule_account(monthly[0])
    run_calendar()
    assert waiting() == {("U2", "12-01 09:30")}


def test_cadence_that_is_removed_removes_its_entries(monthly, clock):
    clock("2026-11-30 16:30")
    run_calendar()
    followed = monthly[0].strategy
    followed.cadence = "none"
    followed.save()
    run_calendar()
    assert waiting() == set()


def test_cadence_that_was_missed_is_reported_and_scheduled_for_the_next_open(monthly, clock):
    clock("2026-12-02 11:00")
    run_calendar()
    run_calendar()
    assert waiting() == {("U1", "12-03 09:30"), ("U2", "12-03 09:30")}
    assert Notification.objects.filter(title__startswith="Scheduled rebalance missed").count() == 2
    clock("2026-12-03 09:30:10")
    assert run_calendar() == 2
    clock("2026-12-04 11:00")
    assert run_calendar() == 0


def test_cadence_ignores_sessions_before_it_was_set(monthly, clock):
    run_calendar()
    assert not ScheduleEntry.objects.exists(), "the first session of November is over"


# ---- drift checks


@pytest.fixture
def checked(make_account, clock):
    """An account of a strategy that is checked half an hour after the open."""

    def make(drift_check, **fields):
        clock("2026-11-24 17:00")
        followed = strategy("checked", {"SPY": "0.6", "IEF": "0.4"}, drift_check=drift_check)
        return make_account(strategy=followed, **fields)

    return make


def sweep_and_work(clock, now):
    """Sweep, and do the work that it wakes."""
    clock(now)
    sweep()
    for run in RebalanceRun.objects.filter(state="queued"):
        work_slot(run.connection_id)


@SENDS
@pytest.mark.parametrize(
    ("policy", "modes"), [("off", []), ("report", ["preview"]), ("execute", ["execute", "preview"])]
)
def test_drift_check_executes_only_if_the_strategy_requires_it(checked, clock, policy, modes):
    checked(policy)
    sweep_and_work(clock, "2026-11-25 09:59")
    assert not RebalanceRun.objects.exists()
    for minute in ("10:00:10", "10:01", "10:02"):
        sweep_and_work(clock, f"2026-11-25 {minute}")
    assert sorted(run.mode for run in RebalanceRun.objects.all()) == modes
    assert all(run.state == "completed" for run in RebalanceRun.objects.all())


@SENDS
def test_drift_check_within_the_band_trades_nothing_and_does_not_notify(checked, clock):
    account = checked("execute")
    clock("2026-11-25 09:45")
    carry_out(account)
    count_before = Notification.objects.filter(run__isnull=False).count()
    for minute in ("10:00:10", "10:01"):
        sweep_and_work(clock, f"2026-11-25 {minute}")
    assert [run.mode for run in RebalanceRun.objects.order_by("-id")] == ["preview", "execute"]
    assert Notification.objects.filter(run__isnull=False).count() == count_before


@SENDS
def test_drift_check_that_is_late_is_reported_and_skipped(checked, clock):
    checked("execute")
    sweep_and_work(clock, "2026-11-25 10:16")
    sweep_and_work(clock, "2026-11-25 10:17")
    assert not StrategyEvent.objects.exists()
    assert ScheduledJob.objects.get().succeeded is False
    assert Notification.objects.filter(title="Drift check missed: checked").count() == 1
    sweep_and_work(clock, "2026-11-26 10:00:10")  # Thanksgiving
    assert not StrategyEvent.objects.exists()
    sweep_and_work(clock, "2026-11-27 10:00:10")
    assert StrategyEvent.objects.count() == 1


def test_schedule_changed_at_is_set_by_schedule_fields_only(clock, db):
    clock("2026-11-25 12:00")
    followed = strategy("s", {"SPY": "1"}, drift_check="report")
    clock("2026-11-25 13:00")
    followed.title = "Another title"
    followed.save()
    assert followed.schedule_changed_at < timezone.now().replace(hour=17, minute=30)
    followed.cadence = "weekly"
    followed.save(update_fields=["cadence"])
    followed.refresh_from_db()
    assert abs((timezone.now() - followed.schedule_changed_at).total_seconds()) < 60
