"""What the calendar starts by itself: cadences on first sessions, and looks at the drift."""

from datetime import date, datetime
from zoneinfo import ZoneInfo

import pytest
from django.utils import timezone

from brokers.exchange_calendar import ExchangeCalendar
from tests.support.makers import carry_out, simulated_account, strategy
from trading.engine.slot_worker import work_slot
from trading.models import Notification, RebalanceRun, ScheduledJob, ScheduleEntry, StrategyEvent
from trading.schedule.cadence import coming_open, first_open
from trading.schedule.entries import open_entries, unschedule_account
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
def test_a_cadence_falls_on_the_first_real_session_of_its_period(cadence, day, first):
    assert first_open(cadence, date.fromisoformat(day), XNYS).session_date == date.fromisoformat(first)


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
def test_when_a_cadence_comes_next(cadence, now, coming):
    found = coming_open(strategy("s", {"SPY": "1"}, cadence=cadence), datetime.fromisoformat(now + "-05:00"), XNYS)
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
        for entry in open_entries()
        if entry.state == "waiting"
    }


def test_the_accounts_of_a_cadence_are_on_the_schedule_before_its_open(monthly, clock):
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


def test_who_is_taken_off_a_cadence_stays_off_until_the_next(monthly, clock):
    clock("2026-11-30 16:30")
    run_calendar()
    unschedule_account(monthly[0])
    run_calendar()
    assert waiting() == {("U2", "12-01 09:30")}


def test_a_cadence_that_is_given_up_leaves_the_schedule(monthly, clock):
    clock("2026-11-30 16:30")
    run_calendar()
    followed = monthly[0].strategy
    followed.cadence = "none"
    followed.save()
    run_calendar()
    assert waiting() == set()


def test_a_cadence_that_was_missed_altogether_is_told_and_waits_for_the_next_open(monthly, clock):
    clock("2026-12-02 11:00")
    run_calendar()
    run_calendar()
    assert waiting() == {("U1", "12-03 09:30"), ("U2", "12-03 09:30")}
    assert Notification.objects.filter(title__startswith="Scheduled rebalance missed").count() == 2
    clock("2026-12-03 09:30:10")
    assert run_calendar() == 2
    clock("2026-12-04 11:00")
    assert run_calendar() == 0


def test_a_cadence_does_not_reach_back_before_it_was_set(monthly, clock):
    run_calendar()
    assert not ScheduleEntry.objects.exists(), "the first session of November is over"


# ---- drift checks


@pytest.fixture
def checked(make_account, clock):
    """An account of a strategy that is looked at half an hour after the open."""

    def make(drift_check, **fields):
        clock("2026-11-24 17:00")
        followed = strategy("checked", {"SPY": "0.6", "IEF": "0.4"}, drift_check=drift_check)
        return make_account(strategy=followed, **fields)

    return make


def look(clock, now):
    """A sweep with the work that it wakes."""
    clock(now)
    sweep()
    for run in RebalanceRun.objects.filter(state="queued"):
        work_slot(run.connection_id)


@SENDS
@pytest.mark.parametrize(
    ("policy", "modes"), [("off", []), ("report", ["preview"]), ("execute", ["execute", "preview"])]
)
def test_a_check_previews_and_executes_only_if_the_policy_says_so(checked, clock, policy, modes):
    checked(policy)
    look(clock, "2026-11-25 09:59")
    assert not RebalanceRun.objects.exists()
    for minute in ("10:00:10", "10:01", "10:02"):
        look(clock, f"2026-11-25 {minute}")
    assert sorted(run.mode for run in RebalanceRun.objects.all()) == modes
    assert all(run.state == "completed" for run in RebalanceRun.objects.all())


@SENDS
def test_an_account_inside_its_band_is_left_alone_and_nobody_is_told(checked, clock):
    account = checked("execute")
    clock("2026-11-25 09:45")
    carry_out(account)
    told = Notification.objects.filter(run__isnull=False).count()
    for minute in ("10:00:10", "10:01"):
        look(clock, f"2026-11-25 {minute}")
    assert [run.mode for run in RebalanceRun.objects.order_by("-id")] == ["preview", "execute"]
    assert Notification.objects.filter(run__isnull=False).count() == told


@SENDS
def test_a_check_that_is_too_late_is_reported_and_not_made_up_for(checked, clock):
    checked("execute")
    look(clock, "2026-11-25 10:16")
    look(clock, "2026-11-25 10:17")
    assert not StrategyEvent.objects.exists()
    assert ScheduledJob.objects.get().succeeded is False
    assert Notification.objects.filter(title="Drift check missed: checked").count() == 1
    look(clock, "2026-11-26 10:00:10")  # Thanksgiving
    assert not StrategyEvent.objects.exists()
    look(clock, "2026-11-27 10:00:10")
    assert StrategyEvent.objects.count() == 1


def test_a_changed_schedule_counts_from_now_on(clock, db):
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
