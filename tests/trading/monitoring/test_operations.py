"""`/healthz`, `/metrics`, structured log lines, and data retention."""

import json
import logging
import logging.config
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import call_command
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from rebalancer_site.logging import logging_config
from tests.support.makers import carry_out, queue
from trading.common.log_context import log_context
from trading.journal.retention import delete_expired
from trading.models import (
    AccountValue,
    Delivery,
    ExecutedSession,
    Fill,
    Notification,
    Order,
    OrderState,
    RebalanceRun,
    RunState,
    StrategyEvent,
)
from trading.models.run_documents import ExecCommand
from trading.monitoring.doctor.registry import examine
from trading.schedule.sweeper import record_heartbeat

pytestmark = pytest.mark.django_db(transaction=True)


def gauges(answer):
    families = text_string_to_metric_families(answer.content.decode())
    return {
        (sample.name.removeprefix("rebalancer_"), *sample.labels.values()): sample.value
        for family in families
        for sample in family.samples
    }


def test_metrics_report_the_rows_without_names(client, make_account):
    account = make_account()
    carry_out(account)
    queue(account)
    record_heartbeat("worker:a", "worker")
    found = gauges(client.get("/metrics"))
    assert (found["workers",], found["runs", "completed"], found["runs", "queued"]) == (1, 1, 1)
    assert (found["orders", "filled"], found["events", "accepted"], found["trading_paused",]) == (2, 2, 0)
    assert (found["listener_up",], found["client_id_conflicts",]) == (1, 0)
    assert found["queue_tasks",] >= 1 and found["broker_last_response_age_seconds",] < 60
    text = client.get("/metrics").content.decode()
    assert "U1" not in text and account.strategy.name not in text


@pytest.mark.parametrize(
    ("peer", "headers", "status"),
    [
        ("127.0.0.1", {}, 200),
        ("::1", {}, 200),
        ("203.0.113.1", {}, 403),
        ("127.0.0.1", {"x-forwarded-for": "203.0.113.1"}, 403),
        ("203.0.113.1", {"authorization": "Bearer wrong"}, 403),
        ("203.0.113.1", {"authorization": "Bearer metrics-token-of-the-test"}, 200),
    ],
)
def test_metrics_by_peer_and_token_return_status(client, settings, peer, headers, status):
    settings.METRICS_TOKEN = SecretStr("metrics-token-of-the-test")
    assert client.get("/metrics", REMOTE_ADDR=peer, headers=headers).status_code == status


def test_metrics_without_a_configured_token_refuse_an_empty_one(client):
    for header in ("", "Bearer ", "Bearer"):
        assert client.get("/metrics", REMOTE_ADDR="203.0.113.1", headers={"authorization": header}).status_code == 403


def test_healthz_reports_queue_and_broker_ages_without_names(client, make_account, settings):
    record_heartbeat("worker:a", "worker")
    account = make_account()
    before = client.get("/healthz").json()
    assert before["broker"] == {"answered_seconds_ago": None, "slots_in_use_elsewhere": 0}
    carry_out(account)
    record_heartbeat("worker:a", "worker")  # on a busy machine the heartbeat may be too old by now
    answer = client.get("/healthz")
    assert answer.status_code == 200
    assert answer.json()["broker"]["answered_seconds_ago"] < 60
    assert answer.json()["queue"]["oldest_seconds"] < 60
    assert not {"U1", account.strategy.name, settings.SECRET_KEY} & set(answer.content.decode().split('"'))


def test_healthz_with_a_heartbeat_of_another_version_returns_503_and_pages_work(admin_client):
    record_heartbeat("worker:a", "worker")
    channel = {"name": "blend", "state": "attached", "maybe_lost": ""}
    record_heartbeat(
        "listener:a:1", "listener", host="a", pid=1, state="listening", trouble_since=None, channels=[channel]
    )
    assert admin_client.get("/healthz").status_code == 503
    assert gauges(admin_client.get("/metrics"))["listener_up",] == 0
    assert [finding.status for finding in examine(["listener"])] == ["problem"]
    assert "runs another version" in admin_client.get("/").content.decode()


def test_json_log_line_contains_account_strategy_and_run():
    config = logging_config("INFO", "json")
    form = logging.config.DictConfigurator(config).configure_formatter(config["formatters"]["json"])
    context = logging.config.DictConfigurator(config).configure_filter(config["filters"]["context"])
    record = logging.LogRecord("rebalancer.trading", logging.WARNING, "", 0, "It %s", ("moved",), None)
    with log_context("U1", "balanced", "abc"):
        context.filter(record)
    line = json.loads(form.format(record))
    fields = {name: line[name] for name in ("level", "logger", "message", "account_id", "strategy", "run_id")}
    assert fields == {
        "level": "WARNING",
        "logger": "rebalancer.trading",
        "message": "It moved",
        "account_id": "U1",
        "strategy": "balanced",
        "run_id": "abc",
    }
    assert line["time"]


def age(days):
    then = timezone.now() - timedelta(days=days)
    RebalanceRun.objects.exclude(finished_at=None).update(finished_at=then)
    StrategyEvent.objects.update(received_at=then)
    AccountValue.objects.update(at=then)
    Notification.objects.update(created_at=then)


@pytest.fixture
def history(make_account, settings):
    """A preview that was executed, with all of its rows."""
    settings.KEEP_RUNS_DAYS = settings.KEEP_EVENTS_DAYS = settings.KEEP_VALUES_DAYS = 100
    account = make_account()
    preview = carry_out(account, ExecCommand.PRINT_REBALANCE)
    run = carry_out(account, approved=preview)
    assert (run.state, run.approved_preview) == ("completed", preview)
    Delivery.objects.update(state="sent")
    return run


def test_expired_runs_are_deleted_with_all_their_rows(history):
    age(101)
    tidied = delete_expired()
    assert (tidied.runs, tidied.events) == (2, 2)
    for model in (RebalanceRun, Order, Fill, ExecutedSession, StrategyEvent, AccountValue, Notification):
        assert not model.objects.exists(), model


def test_recent_runs_are_not_deleted(history):
    age(99)
    assert (delete_expired().runs, RebalanceRun.objects.count(), Order.objects.count()) == (0, 2, 2)


def needs_attention(run):
    RebalanceRun.objects.filter(pk=run.pk).update(state=RunState.NEEDS_ATTENTION)


def unknown_order(run):
    Order.objects.filter(run=run, sequence=1).update(state=OrderState.UNKNOWN)


def pending_message(run):
    message = Notification.objects.create(run=run, kind="failure", title="x", body="x")
    message.deliveries.create(channel="x")


@pytest.mark.parametrize("make_unfinished", [needs_attention, unknown_order, pending_message])
def test_unfinished_run_is_not_deleted_and_neither_is_its_preview(history, make_unfinished):
    make_unfinished(history)
    age(4000)
    assert delete_expired().runs == 0
    assert RebalanceRun.objects.count() == 2 and StrategyEvent.objects.count() == 2


def test_queued_run_is_not_deleted(make_account, settings):
    queue(make_account())
    StrategyEvent.objects.update(received_at=timezone.now() - timedelta(days=4000))
    assert (delete_expired().runs, delete_expired().events, RebalanceRun.objects.count()) == (0, 0, 1)


def test_tidy_with_dry_run_only_counts(history):
    age(101)
    out = StringIO()
    call_command("tidy", "--dry-run", stdout=out)
    assert out.getvalue().startswith("Would delete: 1 runs") and RebalanceRun.objects.count() == 2
    call_command("tidy", stdout=out)
    assert "Deleted: 2 runs" in out.getvalue() and not RebalanceRun.objects.exists()
