"""The queue's schedules. They come from here only: one broken row would hold up all others."""

from datetime import datetime, time, timedelta

from django.conf import settings
from django.utils import timezone
from django_q.models import Schedule

from brokers.exchange_calendar import NEW_YORK

SWEEP_MINUTES = 1
SCHEDULES = {
    # A worker of ours sweeps more often; this one is for plain `qcluster`.
    "sweep": ("trading.tasks.sweep", Schedule.MINUTES, SWEEP_MINUTES),
    # Brokers tell of executions for the current day only: what is unknown is looked for while it can be found.
    "recover open orders": ("trading.tasks.recover_open_orders", Schedule.MINUTES, 5),
    # Only a wake-up: which accounts start, and whether there is a session at all, the rows and the calendar say.
    "market open": ("trading.tasks.market_open", Schedule.DAILY, None),
    # Finds nothing to do until a session has closed; often, so that a close that was missed is made up for.
    "values": ("trading.tasks.record_values", Schedule.MINUTES, 30),
    # What is older than the installation keeps goes at night.
    "tidy": ("trading.tasks.tidy", Schedule.DAILY, None),
}
AT = {"tidy": time(3, 30)}
"""New York times of daily schedules; the others run at the open."""


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
            Schedule.objects.create(name=name, next_run=_first_run(name, kind), **wanted)
        else:
            known.update(**wanted)


def _first_run(name: str, kind: str) -> datetime:
    now = timezone.now()
    if kind != Schedule.DAILY:
        return now + timedelta(seconds=5)
    # The queue adds days in New York time, so that a change of the clocks does not move it.
    at_open = datetime.combine(now.astimezone(NEW_YORK).date(), AT.get(name, settings.MARKET_OPEN_TIME), NEW_YORK)
    return at_open if at_open > now else at_open + timedelta(days=1)
