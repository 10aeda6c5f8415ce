"""The queue and its workers: what our crash-only cluster relies on, schedules, and the sweep."""

import inspect

import pytest
from django_q import cluster
from django_q.models import OrmQ, Schedule

from tests.support.makers import policy, queue, simulated_account
from trading.queue.schedules import SCHEDULES, sync_schedules
from trading.queue.sentinel import OUT_OF_TIME, RECYCLED, CrashOnlySentinel
from trading.schedule.sweeper import sweep


def test_what_the_crash_only_cluster_relies_on():
    assert "reincarnate" in vars(CrashOnlySentinel)
    guard = inspect.getsource(cluster.Sentinel.guard)
    assert guard.count("self.reincarnate(") == 3, "every replacement of a process goes through reincarnate"
    assert "target=Sentinel" in inspect.getsource(cluster.Cluster.start), "the class is looked up in the module"
    replaced = inspect.getsource(cluster.Sentinel.reincarnate)
    assert f"timer.value) == {RECYCLED}" in replaced and f"timer.value == {OUT_OF_TIME}" in replaced


def test_the_queue_gives_a_slow_task_time_before_it_delivers_it_again(settings):
    queue_settings = settings.Q_CLUSTER
    for timing in (queue_settings, queue_settings["ALT_CLUSTERS"]["broker"]):
        assert timing["retry"] >= 3 * timing["timeout"] + 60
        assert timing["timeout"] >= 2 * settings.ORDER_TIMEOUT_SECONDS + 60
        assert (timing["timeout"] + 3) % queue_settings["guard_cycle"] == 0
    assert queue_settings["max_attempts"] == 1 and queue_settings["ack_failures"]


@pytest.mark.django_db
def test_schedules_are_those_of_the_code_and_nothing_else():
    Schedule.objects.create(name="planted", func="os.system", args="'true'")
    sync_schedules()
    sync_schedules()
    assert set(Schedule.objects.values_list("name", flat=True)) == set(SCHEDULES)
    assert Schedule.objects.count() == len(SCHEDULES)


@pytest.mark.django_db
def test_the_sweep_wakes_what_was_missed_and_leaves_what_is_worked_alone():
    from trading.journal.leases import claim_lease

    assert sweep() == 0
    run = queue(simulated_account("U1", {"SPY": "1"}, policy=policy()))
    OrmQ.objects.all().delete()  # the hint is lost
    assert sweep() == 1
    assert OrmQ.objects.count() == 1
    claim_lease(run.connection_id, "somebody")
    assert sweep() == 0
