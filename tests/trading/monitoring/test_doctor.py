"""`doctor` on a healthy installation, and with one problem at a time."""

import json
from datetime import timedelta
from io import StringIO
from types import SimpleNamespace

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
from trading.journal.installation import mark_restored
from trading.journal.leases import claim_lease, has_live_lease
from trading.models import Delivery, Notification, ScheduleEntry, UnrecordedOrder
from trading.monitoring.doctor.registry import CHECKS, examine
from trading.queue.schedules import sync_schedules
from trading.schedule.sweeper import record_heartbeat

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def healthy(make_account):
    """An account at the simulated broker, and a worker."""
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


def test_doctor_on_a_healthy_installation_reports_every_check(healthy):
    code, out = doctor("--json")
    content = json.loads(out)
    assert (code, content["ok"]) == (0, True), content
    assert {finding["check"] for finding in content["findings"]} == {*CHECKS, "quotes"}
    assert any("U1: complete" in finding["message"] for finding in content["findings"])
    assert not has_live_lease(healthy.connection_id)


def test_doctor_with_kill_switches_on_reports_them_without_a_problem(healthy):
    set_paused(None, paused=True, reason="restored", by="a test")
    set_paused(healthy, paused=True, reason="", by="a test")
    code, out = doctor("trading", "--json")
    findings = json.loads(out)["findings"]
    assert (code, [finding["status"] for finding in findings]) == (0, ["ok", "off", "off"])
    assert "restored" in findings[1]["message"] and "U1" in findings[2]["message"]


@pytest.mark.parametrize(
    ("allowed", "message"), [(False, "ALLOW_LIVE_TRADING is off"), (True, "Enabled accounts: 1, armed: 1")]
)
def test_doctor_with_live_accounts_reports_both_live_switches(healthy, settings, allowed, message):
    settings.TRADING_MODE, settings.ALLOW_LIVE_TRADING = "live", allowed
    Account.objects.update(type="live", live_armed=True)
    assert message in doctor("trading")[1]


def test_doctor_with_a_problem_prints_what_to_do_and_exits_with_1(healthy):
    set_fault(Kind.CONNECT_REFUSED)
    code, out = doctor()
    assert code == 1
    assert "PROBLEM broker" in out and "→ Start the broker's gateway" in out
    assert "ok      database" in out


def test_doctor_with_an_unknown_check_exits_with_2(healthy):
    with pytest.raises(CommandError, match="brokr") as error:
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


def failed_entry(settings):
    overdue_entry(settings)
    ScheduleEntry.objects.update(state="failed")


def stray_schedule(settings):
    Schedule.objects.create(name="stray", func="os.getpid", schedule_type="O")


def no_allocations(settings):
    Strategy.objects.create(name="published", source="api")
    settings.ALLOCATIONS_BASE_URL = ""


def missing_listener(settings):
    settings.REALTIME_API_KEY = SecretStr("a.b:c")


def unsupported_channel(settings):
    settings.NOTIFICATION_URLS = (SecretStr("nonsense"),)


def overdue_message(settings):
    settings.NOTIFICATION_URLS = (SecretStr("json://127.0.0.1:9/"),)
    message = Notification.objects.create(kind="failure", title="x", body="x")
    message.deliveries.create(channel="NOTIFICATION_URLS 1")
    Delivery.objects.update(created_at=timezone.now() - timedelta(hours=1))


def unknown_calendar(settings):
    settings.MARKET_CALENDAR = "NOWHERE"


def broken_account(settings):
    set_fault(Kind.INCOMPLETE, account_id="U1")


def debug(settings):
    settings.DEBUG = True


def open_site(settings):
    settings.ALLOW_LIVE_TRADING, settings.ALLOWED_HOSTS = True, ["*"]


def superuser_without_2fa(settings):
    settings.ALLOW_LIVE_TRADING = True
    User.objects.create(username="boss", is_superuser=True)


@pytest.mark.parametrize(
    ("check", "break_it", "message"),
    [
        ("site", debug, "DEBUG is on"),
        ("site", open_site, "any host name over plain http"),
        ("site", superuser_without_2fa, "Superusers without two-factor"),
        ("queue", no_worker, "no recent heartbeat"),
        ("queue", stray_schedule, "schedules are"),
        ("schedule", overdue_entry, "Overdue and not started: U1 of"),
        ("schedule", failed_entry, "not tried again automatically: U1 of"),
        ("allocations", no_allocations, "published: ALLOCATIONS_BASE_URL must be"),
        ("listener", missing_listener, "no recent heartbeat"),
        ("notifications", unsupported_channel, "Apprise does not support"),
        ("notifications", overdue_message, "Overdue messages: 1"),
        ("calendar", unknown_calendar, "cannot be used"),
        ("broker", broken_account, "U1: The value of account U1 is missing"),
    ],
)
def test_check_with_one_problem_reports_it_and_what_to_do(healthy, settings, check, break_it, message):
    assert problems(check) == []
    break_it(settings)
    found = problems(check)
    assert any(message in finding.message for finding in found), found
    assert all(finding.to_do for finding in found)


def test_database_check_on_a_full_disk_reports_a_problem(healthy, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1_000_000))
    assert "disk" in problems("database")[0].to_do


def test_broker_check_of_a_leased_slot_does_not_use_it(healthy):
    lease = claim_lease(healthy.connection_id, "worker")
    found = examine(["broker"])
    assert [finding.status for finding in found] == ["ok"] and "not checked" in found[0].message
    assert BrokerConnection.objects.get().lease_epoch == lease.epoch


def test_broker_check_wakes_the_slot_if_a_run_was_queued_meanwhile(healthy):
    from django_q.models import OrmQ

    queue(healthy)
    OrmQ.objects.all().delete()
    assert problems("broker") == []
    assert OrmQ.objects.count() == 1


def test_check_with_an_unexpected_error_is_a_problem_without_secrets(healthy, settings, monkeypatch):
    def broken():
        raise RuntimeError(f"with {settings.SECRET_KEY}")

    monkeypatch.setitem(CHECKS, "clock", broken)
    found = problems("clock")
    assert "RuntimeError" in found[0].message and settings.SECRET_KEY not in found[0].message


@pytest.mark.parametrize(("status", "at_once"), [(401, True), (403, True), (404, True), (500, False), (429, False)])
def test_channel_that_refuses_messages_is_a_problem_at_once(healthy, status, at_once):
    """Patience is for what may heal."""
    notification = Notification.objects.create(kind="success", title="t", body="b")
    error = f"The receiver returned status {status}."
    Delivery.objects.create(notification=notification, channel="webhook hook", attempts=1, last_error=error)
    assert bool(problems("notifications")) == at_once


def test_restored_database_and_unrecorded_orders_are_problems(healthy):
    UnrecordedOrder.objects.create(account=healthy, client_order_id="rb-x", symbol="VTI", quantity=-1)
    mark_restored()
    restored, unrecorded = problems("trading")
    assert "restored" in restored.message and "U1" in unrecorded.message
    assert {finding.to_do.count("manage.py reconcile") for finding in (restored, unrecorded)} == {1}
