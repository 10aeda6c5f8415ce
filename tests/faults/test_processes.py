"""Inject faults of processes and of the database server into real workers."""

import os
import signal

import pytest

from trading.common.fail_points import FailPoint

on_postgres = pytest.mark.skipif(
    os.environ.get("TEST_DATABASE") != "postgres", reason="SQLite has no server whose connections could end"
)
HINTS = "from django_q.models import OrmQ; answer = OrmQ.objects.count()"
SENT = "from brokers.simulated.models import SimulatedOrder; answer = SimulatedOrder.objects.filter(account__account_id={!r}).count()"

AT_BROKER = "from brokers.simulated.models import SimulatedOrder as O; answer = list(O.objects.filter(account__account_id={!r}).values_list('client_order_id', flat=True))"
LOST = "from trading.models import Order; answer = list(Order.objects.filter(account__account_id={!r}, state='lost').values_list('client_order_id', flat=True))"


@pytest.fixture(scope="module")
def rig(new_rig):
    rig = new_rig()
    rig.accounts("P-term", "P-key", "P-cut", "P-away")
    return rig


def end_connections(rig):
    """End every connection of the installation's database, as an administrator or a failover does."""
    import psycopg

    with psycopg.connect(rig.site.environment["DATABASE_URL"], autocommit=True) as admin:
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


def test_worker_stopped_during_a_run_hands_it_over_and_another_resumes_it(rig):
    rig.fault("SLOW", "P-term", symbol="VTI", number=60)
    first = rig.site.start("qworker")
    run_id = rig.event("P-term")
    rig.wait_for(
        lambda: rig.evaluate(SENT.format("P-term")) == 2, "Two orders at the broker, one of which takes a minute"
    )
    second = rig.site.start("qworker")
    first.send_signal(signal.SIGTERM)  # the main process only, as a container does
    assert first.wait(30) == 0, "it does not wait for the slow order"
    run = rig.ended(run_id)
    assert run["state"] == "completed" and {"handed_over", "taken_over"} <= set(run["timeline"]), run
    rig.assert_records_agree()
    rig.site.kill(second)


def test_rotated_secret_key_loses_no_run(rig):
    run_id = rig.event("P-key")
    assert rig.evaluate(HINTS) > 0, "the wake-up is signed with the old key, and no worker is running"
    old, rig.site.environment["SECRET_KEY"] = rig.site.environment["SECRET_KEY"], "another-key"
    worker = rig.site.start("qworker")
    assert rig.ended(run_id)["state"] == "completed"
    rig.site.kill(worker)
    rig.site.environment["SECRET_KEY"] = old
    rig.assert_records_agree()


WORKERS = "from trading.models import ProcessHeartbeat as P; answer = P.objects.filter(kind='worker').count()"
SCHEDULED = """
from datetime import timedelta
from django.utils import timezone
from accounts.models import Account
from trading.journal.schedule import add_entry
from trading.models import ScheduleOrigin
due_at = timezone.now() + timedelta(seconds=0.5)
for account in Account.objects.filter(account_id__startswith="P-open"):
    add_entry(account, due_at.date(), due_at, ScheduleOrigin.COMMAND)
"""
ENDED = """
from trading.models import ScheduleEntry
answer = list(ScheduleEntry.objects.values_list("state", flat=True))
"""
SWEPT_SINCE = """
from datetime import timedelta
from django.db.models import Max
from trading.models import ProcessHeartbeat, ScheduleEntry
due_at = ScheduleEntry.objects.aggregate(at=Max("due_at"))["at"]
answer = ProcessHeartbeat.objects.filter(kind="worker", at__gt=due_at + timedelta(seconds=1)).count()
"""
STARTED = """
from collections import Counter
from trading.models import RebalanceRun, StrategyEvent
scheduled = RebalanceRun.objects.filter(event__source="schedule")
answer = dict(
    runs=Counter(scheduled.values_list("account__account_id", flat=True)),
    events=StrategyEvent.objects.filter(source="schedule").count())
"""


@pytest.mark.skipif(
    os.environ.get("TEST_DATABASE") != "postgres",
    reason="on SQLite clusters wait for one writer, so that nothing competes",
)
@pytest.mark.timeout(300)
def test_two_clusters_with_one_schedule_start_each_account_once(new_rig):
    # Long leases, which a busy machine does not lose: they are not tested here.
    rig = new_rig(LEASE_TTL_SECONDS="15")
    accounts = [f"P-open-{number}" for number in range(3)]
    rig.accounts(*accounts)
    clusters = [rig.site.start("qworker") for _ in range(2)]
    rig.wait_for(lambda: rig.evaluate(WORKERS) >= 2, "A heartbeat of both clusters")
    rig.evaluate(SCHEDULED)  # due in half a second, and swept by both
    rig.wait_for(lambda: rig.evaluate(SWEPT_SINCE) == 2, "Sweeps of both clusters since then")
    assert rig.evaluate(STARTED) == {"runs": dict.fromkeys(accounts, 1), "events": len(accounts)}
    rig.wait_for(lambda: set(rig.evaluate(ENDED)) == {"completed"}, "The end of the scheduled runs", 120)
    assert rig.evaluate(STARTED) == {"runs": dict.fromkeys(accounts, 1), "events": len(accounts)}
    assert [cluster.poll() for cluster in clusters] == [None, None]
    rig.assert_records_agree()
    for cluster in clusters:
        rig.site.kill(cluster)


@on_postgres
def test_database_connections_ended_during_a_run_do_not_stop_it(rig):
    workers = rig.workers(1)
    rig.fault("SLOW", "P-cut", symbol="VTI", number=1.5)
    run_id = rig.event("P-cut")
    rig.wait_for(lambda: rig.evaluate(SENT.format("P-cut")) == 2, "Two orders at the broker")
    end_connections(rig)
    rig.reconnect()
    run = rig.ended(run_id, 60)
    assert run["state"] == "completed", run
    assert workers.deaths() == [], "no worker died"
    rig.assert_records_agree()
    workers.end()


@on_postgres
def test_database_outage_between_acknowledgement_and_commit_loses_no_order(rig):
    workers = rig.workers(1)
    rig.arm(FailPoint.SENT, "stop", "P-away")
    run_id = rig.event("P-away")
    stopped = workers.stopped_child()
    acknowledged = set(rig.evaluate(AT_BROKER.format("P-away")))
    end_connections(rig)  # an order that is being sent at this moment does not reach the broker
    rig.reconnect()
    workers.resume(stopped)
    run = rig.ended(run_id)
    assert run["state"] == "completed", run
    assert acknowledged and acknowledged.isdisjoint(rig.evaluate(LOST.format("P-away")))
    rig.assert_records_agree()
    workers.end()


@on_postgres
@pytest.mark.process
@pytest.mark.skipif(os.environ.get("FAULTS") != "full", reason="a separate server takes seconds; `make faults` runs it")
def test_database_server_crash_during_a_run_does_not_stop_it(tmp_path_factory):
    from tests.faults.conftest import QUICK
    from tests.faults.rig import Rig
    from tests.support.installation import Installation
    from tests.support.postgres import package

    home = tmp_path_factory.mktemp("server")
    home.chmod(0o755)
    server = package().get_server(home, cleanup_mode="stop")
    site = Installation(tmp_path_factory.mktemp("installation"), server.get_uri(), **QUICK)
    try:
        site.manage("migrate", "-v0")
        rig = Rig(site)
        rig.accounts("P-crash")
        workers = rig.workers(1)
        rig.fault("SLOW", "P-crash", symbol="VTI", number=1.5)
        run_id = rig.event("P-crash")
        rig.wait_for(lambda: rig.evaluate(SENT.format("P-crash")) == 2, "Two orders at the broker")
        postmaster = int((home / "postmaster.pid").read_text().splitlines()[0])
        os.kill(postmaster, signal.SIGQUIT)  # an immediate shutdown: recovery follows, as after a crash
        rig.wait_for(lambda: not (home / "postmaster.pid").exists(), "The end of the server")
        server.start()
        rig.reconnect()
        run = rig.ended(run_id, 60)
        assert run["state"] == "completed", run
        assert workers.deaths() == []
        rig.assert_records_agree()
    finally:
        site.close()
        server.cleanup()
