"""What the doctor says of an installation that is well, and of one thing at a time that is not."""

import json
from datetime import timedelta
from io import StringIO

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.core.management.base import CommandError
from django.utils import timezone
from django_q.models import Schedule
from pydantic import SecretStr

from accounts.models import Account, BrokerConnection, Strategy
from brokers.simulated.faults import Kind, set_fault
from tests.support.makers import queue
from trading.actions.kill_switch import set_paused
from trading.journal.leases import claim_lease, has_live_lease
from trading.models import Delivery, Notification, ScheduleEntry
from trading.monitoring.doctor.registry import CHECKS, examine
from trading.queue.schedules import sync_schedules
from trading.schedule.sweeper import record_heartbeat

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def well(make_account):
    """An account of the simulated broker and a worker."""
    sync_schedules()
    record_heartbeat("worker:test", "worker")
    return make_account()


def doctor(*arguments):
    out = StringIO()
    try:
        call_command("doctor", *arguments, stdout=out)
    except SystemExit as end:
        return end.code, out.getvalue()
    return 0, out.getvalue()


def problems(check):
    return [finding for finding in examine([check]) if finding.status == "problem"]


def test_all_is_well(well):
    code, out = doctor("--json")
    content = json.loads(out)
    assert (code, content["ok"]) == (0, True), content
    told = {finding["check"] for finding in content["findings"]}
    assert told == {*CHECKS, "quotes"}
    assert any("U1: complete" in finding["message"] for finding in content["findings"])
    assert not has_live_lease(well.connection_id)


def test_what_people_have_switched_off_is_told_and_is_no_defect(well):
    set_paused(None, paused=True, reason="restored", by="a test")
    set_paused(well, paused=True, reason="", by="a test")
    code, out = doctor("trading")
    assert code == 0
    assert "Trading is paused for all accounts: restored. `manage.py resume`" in out
    assert "Trading is paused for U1." in out


@pytest.mark.parametrize(
    ("allowed", "told"), [(False, "ALLOW_LIVE_TRADING is off"), (True, "1 enabled accounts, of which 1 are armed")]
)
def test_both_keys_of_live_trading_are_told(well, settings, allowed, told):
    settings.TRADING_MODE, settings.ALLOW_LIVE_TRADING = "live", allowed
    Account.objects.update(type="live", live_armed=True)
    assert told in doctor("trading")[1]


def test_it_says_what_to_do_and_ends_with_1(well):
    set_fault(Kind.CONNECT_REFUSED)
    code, out = doctor()
    assert code == 1
    assert "PROBLEM broker" in out and "→ Start the broker's gateway" in out
    assert "ok      database" in out


def test_a_check_that_there_is_none_of_is_a_wrong_usage(well):
    with pytest.raises(CommandError, match="no check 'brokr'") as error:
        doctor("brokr")
    assert error.value.returncode == 2


def no_worker(settings):
    record_heartbeat("worker:test", "worker")
    from trading.models import ProcessHeartbeat

    ProcessHeartbeat.objects.update(at=timezone.now() - timedelta(hours=1))


def overdue_entry(settings):
    from trading.schedule.entries import schedule_account

    schedule_account(Account.objects.get())
    ScheduleEntry.objects.update(due_at=timezone.now() - timedelta(minutes=3))


def entry_that_went_wrong(settings):
    overdue_entry(settings)
    ScheduleEntry.objects.update(state="failed")


def stray_schedule(settings):
    Schedule.objects.create(name="stray", func="os.getpid", schedule_type="O")


def no_allocations(settings):
    Strategy.objects.create(name="published", source="api")
    settings.ALLOCATIONS_BASE_URL = ""


def deaf_listener(settings):
    settings.REALTIME_API_KEY = SecretStr("a.b:c")


def odd_channel(settings):
    settings.NOTIFICATION_URLS = (SecretStr("nonsense"),)


def overdue_message(settings):
    settings.NOTIFICATION_URLS = (SecretStr("json://127.0.0.1:9/"),)
    message = Notification.objects.create(kind="failure", title="x", body="x")
    message.deliveries.create(channel="NOTIFICATION_URLS 1")
    Delivery.objects.update(created_at=timezone.now() - timedelta(hours=1))


def odd_calendar(settings):
    settings.MARKET_CALENDAR = "NOWHERE"


def broken_account(settings):
    set_fault(Kind.INCOMPLETE, account_id="U1")


def debug(settings):
    settings.DEBUG = True


def open_site(settings):
    settings.ALLOW_LIVE_TRADING, settings.ALLOWED_HOSTS = True, ["*"]


def superuser_without_codes(settings):
    settings.ALLOW_LIVE_TRADING = True
    User.objects.create(username="boss", is_superuser=True)


@pytest.mark.parametrize(
    ("check", "spoil", "said"),
    [
        ("site", debug, "DEBUG is on"),
        ("site", open_site, "any name over plain http"),
        ("site", superuser_without_codes, "1 superusers log in without"),
        ("queue", no_worker, "No worker has shown"),
        ("queue", stray_schedule, "schedules are"),
        ("schedule", overdue_entry, "nothing has taken it up: U1 of"),
        ("schedule", entry_that_went_wrong, "nothing follows by itself: U1 of"),
        ("allocations", no_allocations, "published: ALLOCATIONS_BASE_URL must be"),
        ("listener", deaf_listener, "no sign of life"),
        ("notifications", odd_channel, "none that Apprise knows"),
        ("notifications", overdue_message, "1 messages are overdue"),
        ("calendar", odd_calendar, "cannot be used"),
        ("broker", broken_account, "U1: The value of account U1 is missing"),
    ],
)
def test_one_thing_is_wrong(well, settings, check, spoil, said):
    assert problems(check) == []
    spoil(settings)
    found = problems(check)
    assert any(said in finding.message for finding in found), found
    assert all(finding.to_do for finding in found)


def test_a_disk_without_room(well, monkeypatch):
    monkeypatch.setattr("trading.monitoring.doctor.database.LEAST_FREE_BYTES", 10**18)
    assert "Make room" in problems("database")[0].to_do


def test_a_slot_that_a_worker_has_is_left_alone(well):
    lease = claim_lease(well.connection_id, "somebody")
    found = examine(["broker"])
    assert "a worker has it" in found[0].message
    assert BrokerConnection.objects.get().lease_epoch == lease.epoch


def test_a_run_that_came_while_the_doctor_had_the_slot_is_woken(well):
    from django_q.models import OrmQ

    queue(well)
    OrmQ.objects.all().delete()
    assert problems("broker") == []
    assert OrmQ.objects.count() == 1


def test_a_check_that_breaks_is_a_problem_and_tells_no_secret(well, settings, monkeypatch):
    def broken():
        raise RuntimeError(f"with {settings.SECRET_KEY}")

    monkeypatch.setattr("trading.monitoring.doctor.clock.check", broken)
    found = problems("clock")
    assert "The check broke" in found[0].message and settings.SECRET_KEY not in found[0].message
