"""Accounts that are scheduled for the next open by users, by command or by a guard."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from django.contrib.auth.models import Permission, User
from django.utils import timezone

from accounts.models import Account
from brokers.simulated.models import SimulatedOrder
from tests.support.makers import carry_out, policy
from trading.engine.slot_worker import work_slot
from trading.errors import Refused
from trading.models import EventSource, Notification, RebalanceRun, ScheduleEntry
from trading.schedule.entries import clear_schedule, schedule_account, unschedule_account
from trading.schedule.market_open import run_schedule
from trading.schedule.sweeper import run_calendar, sweep

pytestmark = pytest.mark.django_db
SENDS = pytest.mark.django_db(transaction=True)
NEW_YORK = ZoneInfo("America/New_York")


def at(text):
    return datetime.fromisoformat(text).replace(tzinfo=NEW_YORK)


def only_entry():
    return ScheduleEntry.objects.select_related("run").get()


def work(run):
    work_slot(run.connection_id)
    run.refresh_from_db()
    return run


@pytest.mark.parametrize(
    ("now", "due"),
    [
        ("2026-11-24 17:00", "2026-11-25 09:30"),
        ("2026-11-25 09:29", "2026-11-25 09:30"),
        ("2026-11-25 09:30", "2026-11-27 09:30"),  # Thursday is Thanksgiving
        ("2026-11-27 12:00", "2026-11-30 09:30"),  # Friday closes at 13:00
        ("2026-03-06 17:00", "2026-03-09 09:30"),  # the clocks go forward on Sunday
        ("2026-10-30 17:00", "2026-11-02 09:30"),  # and back
    ],
)
def test_schedule_account_uses_the_next_open_of_a_session(plain_account, clock, now, due):
    clock(now)
    entry = schedule_account(plain_account())
    assert entry.due_at == at(due)
    assert entry.key == f"open:U1:{due[:10]}"


def test_schedule_account_across_a_clock_change_keeps_new_york_time(plain_account, clock):
    clock("2026-03-06 17:00")
    assert schedule_account(plain_account()).due_at == datetime(2026, 3, 9, 13, 30, tzinfo=UTC)
    ScheduleEntry.objects.all().delete()
    clock("2026-10-30 17:00")
    assert schedule_account(Account.objects.get()).due_at == datetime(2026, 11, 2, 14, 30, tzinfo=UTC)


def test_schedule_account_twice_returns_the_same_entry(plain_account, clock):
    clock("2026-11-25 08:00")
    account = plain_account()
    assert schedule_account(account) == schedule_account(account)
    assert ScheduleEntry.objects.count() == 1


@SENDS
def test_run_calendar_starts_a_scheduled_account_at_the_open_and_not_before(make_account, clock):
    clock("2026-11-25 08:00")
    schedule_account(make_account())
    clock("2026-11-25 09:29:50")
    assert run_calendar() == 0
    clock("2026-11-25 09:30:05")
    assert run_calendar() == 1
    entry = only_entry()
    assert (entry.state, entry.run.event.source, entry.run.event.message_id) == (
        "started",
        EventSource.SCHEDULE,
        "open:U1:2026-11-25",
    )
    assert work(entry.run).state == "completed"
    assert only_entry().state == "completed"
    assert not ScheduleEntry.open_entries().exists()


def test_run_schedule_called_repeatedly_starts_one_run(plain_account, clock):
    clock("2026-11-25 08:00")
    schedule_account(plain_account())
    seen_by_another = list(ScheduleEntry.objects.all())
    clock("2026-11-25 09:30:05")
    assert run_schedule(timezone.now()) == 1
    from trading.schedule import market_open

    assert [market_open._start(entry) for entry in seen_by_another] == [False]
    sweep()
    assert RebalanceRun.objects.count() == 1


@pytest.mark.parametrize(
    ("missed", "back", "entry_state", "next_due"),
    [
        ("run_late", "2026-11-25 09:44", "started", None),
        ("run_late", "2026-11-25 09:46", "missed", "2026-11-27 09:30"),
        ("next_open", "2026-11-25 09:31", "started", None),
        ("next_open", "2026-11-25 09:44", "missed", "2026-11-27 09:30"),
        ("skip", "2026-11-25 09:31", "started", None),
        ("skip", "2026-11-25 09:44", "missed", None),
    ],
)
def test_missed_entry_is_handled_by_the_policy_and_reported(plain_account, clock, missed, back, entry_state, next_due):
    clock("2026-11-25 08:00")
    schedule_account(plain_account(policy=policy(missed_schedule=missed)))
    clock(back)
    run_calendar()
    first = ScheduleEntry.objects.order_by("id")[0]
    assert first.state == entry_state
    assert RebalanceRun.objects.exists() == (entry_state == "started")
    assert Notification.objects.filter(title__startswith="Scheduled rebalance missed").exists() == (
        entry_state == "missed"
    )
    if next_due:
        assert (first.follow_up.due_at, first.follow_up.origin) == (at(next_due), "missed")
        assert Notification.objects.filter(title__startswith="Rebalance rescheduled").exists()
    elif entry_state == "missed":
        assert list(ScheduleEntry.open_entries()) == [first], "a skipped entry stays visible"


def test_missed_entry_found_on_sunday_is_scheduled_for_monday(plain_account, clock):
    clock("2026-11-27 08:00")
    schedule_account(plain_account())
    clock("2026-11-29 11:00")
    run_calendar()
    run_calendar()
    assert not RebalanceRun.objects.exists()
    entry = ScheduleEntry.open_entries().get()
    assert (entry.due_at, entry.state) == (at("2026-11-30 09:30"), "waiting")


@SENDS
def test_run_started_too_late_is_refused_and_scheduled_for_the_next_open(make_account, clock):
    clock("2026-11-25 08:00")
    schedule_account(make_account())
    clock("2026-11-25 09:30:10")
    run_calendar()
    clock("2026-11-25 09:46")
    run = work(RebalanceRun.objects.get())
    assert (run.state, run.error_code) == ("refused", "schedule_late")
    assert not SimulatedOrder.objects.exists()
    run_calendar()
    assert [entry.state for entry in ScheduleEntry.objects.order_by("id")] == ["missed", "waiting"]


@SENDS
def test_failed_entry_is_retried_as_often_as_the_policy_allows(make_account, clock):
    clock("2026-11-24 17:00")
    schedule_account(make_account(policy=policy(schedule_retries=1)))
    Account.objects.update(trading_paused=True)
    for morning in ("2026-11-25 09:30:05", "2026-11-27 09:30:05", "2026-11-30 09:30:05"):
        clock(morning)
        run_calendar()
        run_calendar()
    assert set(RebalanceRun.objects.values_list("error_code", flat=True)) == {"trading_paused"}
    first, second = ScheduleEntry.objects.order_by("id")
    assert (first.state, first.follow_up) == ("failed", second)
    assert (second.state, second.attempt, second.follow_up) == ("failed", 2, None)
    assert "Attempt 2 of 2" not in second.message and "paused" in second.message
    assert list(ScheduleEntry.open_entries()) == [second]
    unschedule_account(Account.objects.get())
    assert not ScheduleEntry.open_entries().exists()


def test_entry_whose_run_needs_attention_is_not_retried(plain_account, clock):
    clock("2026-11-25 08:00")
    schedule_account(plain_account())
    clock("2026-11-25 09:30:05")
    run_calendar()
    RebalanceRun.objects.update(state="needs_attention")
    ScheduleEntry.objects.update(state="failed")
    run_calendar()
    assert ScheduleEntry.objects.count() == 1
    assert ScheduleEntry.open_entries().get().state == "failed"


def test_entry_with_an_unexpected_error_does_not_stop_the_others(plain_account, clock):
    clock("2026-11-25 08:00")
    for account_id in ("U1", "U2"):
        schedule_account(plain_account(account_id))
    broken = policy("broken", unmanaged="burn")  # a value that no form accepts
    Account.objects.filter(account_id="U1").update(policy=broken)
    clock("2026-11-25 09:30:05")
    sweep()
    states = {entry.account.account_id: entry.state for entry in ScheduleEntry.objects.all()}
    assert states == {"U1": "failed", "U2": "started"}
    assert Notification.objects.filter(title="Scheduled rebalance failed: U1").exists()


# ---- deferred runs


@SENDS
def test_deferred_run_is_scheduled_and_uses_current_targets(make_account, clock):
    clock("2026-11-25 10:00")
    account = make_account(trade_guard="once_per_session")
    assert carry_out(account).state == "completed"
    targets = account.strategy.targets
    targets.filter(symbol="IEF").update(weight="0.1")
    blocked = carry_out(account)
    assert (blocked.state, blocked.error_code) == ("deferred", "trade_guard")
    entry = only_entry()
    assert (entry.due_at, entry.origin, entry.run) == (at("2026-11-27 09:30"), "deferred", blocked)
    clock("2026-11-26 12:00")
    sweep()
    blocked.refresh_from_db()
    assert blocked.state == "deferred"
    targets.filter(symbol="SPY").update(weight="0.2")
    clock("2026-11-27 09:30:05")
    sweep()
    assert work(blocked).state == "completed", blocked.error_message
    assert {target["symbol"]: target["weight"] for target in blocked.targets}["SPY"].startswith("0.2")
    assert only_entry().state == "completed"


@SENDS
def test_deferred_and_scheduled_account_starts_one_run(make_account, clock):
    clock("2026-11-25 10:00")
    account = make_account(trade_guard="once_per_session")
    carry_out(account)
    schedule_account(account)
    blocked = carry_out(account)
    assert only_entry().run == blocked
    clock("2026-11-27 09:30:05")
    sweep()
    assert RebalanceRun.objects.filter(state="queued").get() == blocked


@SENDS
def test_newer_event_supersedes_a_deferred_run_and_its_entry(make_account, clock):
    clock("2026-11-25 10:00")
    account = make_account(trade_guard="once_per_session")
    carry_out(account)
    older, newer = carry_out(account), carry_out(account)
    older.refresh_from_db()
    assert (older.state, newer.state) == ("superseded", "deferred")
    assert only_entry().run == newer


@SENDS
@pytest.mark.parametrize(("missed", "state"), [("run_late", "deferred"), ("skip", "superseded")])
def test_missed_deferred_run_is_handled_by_the_policy(make_account, clock, missed, state):
    clock("2026-11-25 10:00")
    account = make_account(trade_guard="once_per_session", policy=policy(missed_schedule=missed))
    carry_out(account)
    blocked = carry_out(account)
    clock("2026-11-29 11:00")
    sweep()
    blocked.refresh_from_db()
    assert blocked.state == state
    if state == "deferred":
        assert blocked.not_before == at("2026-11-30 09:30")
        assert ScheduleEntry.open_entries().get().run == blocked


@SENDS
def test_unschedule_account_supersedes_its_deferred_run(make_account, clock):
    clock("2026-11-25 10:00")
    account = make_account(trade_guard="once_per_session")
    carry_out(account)
    blocked = carry_out(account)
    assert unschedule_account(account) == 1
    blocked.refresh_from_db()
    assert blocked.state == "superseded"
    clock("2026-11-27 09:30:05")
    sweep()
    assert not RebalanceRun.objects.filter(state="queued").exists()


# ---- permissions


def user_with(*codenames):
    user = User.objects.create_user("ann", password="pw")
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    return User.objects.get(pk=user.pk)


@pytest.mark.parametrize(
    ("fields", "rights", "code"),
    [
        ({}, ("preview_account",), "not_permitted"),
        ({"enabled": False}, ("execute_account",), "account_disabled"),
        ({"strategy": None}, ("execute_account",), "no_strategy"),
        ({"type": "live"}, ("execute_account", "execute_live_account"), "wrong_environment"),
    ],
)
def test_schedule_account_that_cannot_be_executed_is_refused(plain_account, clock, fields, rights, code):
    clock("2026-11-25 08:00")
    account = plain_account(**fields)
    with pytest.raises(Refused) as refused:
        schedule_account(account, user_with(*rights))
    assert refused.value.code == code
    assert not ScheduleEntry.objects.exists()


def test_scheduler_disabled_starts_nothing(plain_account, clock, settings):
    settings.SCHEDULER_ENABLED = False
    clock("2026-11-25 08:00")
    schedule_account(plain_account())
    clock("2026-11-25 09:30:05")
    sweep()
    assert only_entry().state == "waiting"
    settings.SCHEDULER_ENABLED = True
    clock("2026-11-25 12:00")
    sweep()
    assert ScheduleEntry.objects.order_by("id")[0].state == "missed", "it does not start later in the day"


def test_market_open_time_is_used_but_never_before_the_session_opens(plain_account, clock, settings):
    from datetime import time

    settings.MARKET_OPEN_TIME = time(10, 15)
    clock("2026-11-25 09:45")
    assert schedule_account(plain_account()).due_at == at("2026-11-25 10:15")
    settings.MARKET_OPEN_TIME = time(8, 0)
    clear_schedule()
    assert schedule_account(Account.objects.get()).due_at == at("2026-11-27 09:30"), "never before the session opens"
