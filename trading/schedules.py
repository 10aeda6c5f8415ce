"""The queue's schedules. They come from here only: one broken row would hold up all others."""

from datetime import timedelta

from django.utils import timezone
from django_q.models import Schedule

SCHEDULES = {
    # A worker of ours sweeps more often; this one is for plain `qcluster`.
    "sweep": ("trading.tasks.sweep", Schedule.MINUTES, 1),
    # Brokers tell of executions for the current day only: what is unknown is looked for while it can be found.
    "settle": ("trading.tasks.settle_left_behind", Schedule.MINUTES, 5),
}


def sync_schedules() -> None:
    """Makes the queue's schedules what this file says, and nothing else."""
    Schedule.objects.exclude(name__in=SCHEDULES).delete()
    for name, (function, kind, minutes) in SCHEDULES.items():
        known = Schedule.objects.filter(name=name)
        wanted = {
            "func": function,
            "schedule_type": kind,
            "minutes": minutes,
            "repeats": -1,
            "args": None,
            "kwargs": None,
        }
        if known.count() > 1:
            known.delete()
        if not known.exists():
            Schedule.objects.create(name=name, next_run=timezone.now() + timedelta(seconds=5), **wanted)
        else:
            known.update(**wanted)
