"""The queue: what the crash-only cluster relies on in django-q2, timing settings, schedules and the sweep."""

import inspect

import pytest
from django_q import cluster
from django_q.models import OrmQ, Schedule

from tests.support.makers import policy, queue, simulated_account
from trading.journal.leases import claim_lease
from trading.queue.schedules import SCHEDULES, are_complete, sync_schedules
from trading.queue.sentinel import OUT_OF_TIME, RECYCLED, CrashOnlySentinel
from trading.schedule.sweeper import sweep


def test_django_q_has_the_hooks_that_the_crash_only_cluster_relies_on():
    assert "reincarnate" in vars(CrashOnlySentinel)
    guard = inspect.getsource(cluster.Sentinel.guard)
    assert guard.count("self.reincarnate(") == 3, "every replacement of a process calls reincarnate"
    assert "target=Sentinel" in inspect.getsource(cluster.Cluster.start), "the class is looked up in the module"
    replaced = inspect.getsource(cluster.Sentinel.reincarnate)
    assert f"timer.value) == {RECYCLED}" in replaced and f"timer.value == {OUT_OF_TIME}" in replaced


def test_queue_retry_of_each_cluster_exceeds_its_longest_task(settings):
    queue_settings = settings.Q_CLUSTER
    for timing in (queue_settings, queue_settings["ALT_CLUSTERS"]["broker"]):
        assert timing["retry"] >= 3 * timing["timeout"] + 60
        assert timing["timeout"] >= 2 * settings.ORDER_TIMEOUT_SECONDS + 60
        assert (timing["timeout"] + 3) % queue_settings["guard_cycle"] == 0
    assert queue_settings["max_attempts"] == 1 and queue_settings["ack_failures"]


@pytest.mark.django_db
def test_sync_schedules_removes_every_schedule_that_is_not_in_the_code():
    Schedule.objects.create(name="planted", func="os.system", args="'true'")
    sync_schedules()
    sync_schedules()
    assert set(Schedule.objects.values_list("name", flat=True)) == set(SCHEDULES)
    assert Schedule.objects.count() == len(SCHEDULES)


@pytest.mark.django_db
def test_sweep_wakes_a_slot_with_a_lost_hint_unless_a_worker_has_its_lease():
    assert sweep() == 0
    run = queue(simulated_account("U1", {"SPY": "1"}, policy=policy()))
    OrmQ.objects.all().delete()
    assert sweep() == 1
    assert OrmQ.objects.count() == 1
    claim_lease(run.connection_id, "a worker")
    assert sweep() == 0


@pytest.mark.django_db
def test_sweep_restores_schedules_that_are_missing_or_changed():
    sync_schedules()
    for spoil in (
        Schedule.objects.all().delete,
        Schedule.objects.filter(name="sweep").delete,
        lambda: Schedule.objects.filter(name="tidy").update(func="os.system"),
        lambda: Schedule.objects.filter(name="values").update(repeats=0),
        lambda: Schedule.objects.create(name="sweep", func="trading.tasks.sweep"),
    ):
        spoil()
        assert not are_complete()
        sweep()
        assert are_complete()
    before = set(Schedule.objects.values_list("pk", flat=True))
    sweep()
    assert set(Schedule.objects.values_list("pk", flat=True)) == before, "complete schedules are left alone"
