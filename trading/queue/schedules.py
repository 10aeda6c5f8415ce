"""The queue's periodic tasks. They are defined only here, because one broken row would block all others."""

from collections import Counter
from datetime import datetime, time, timedelta

from django.conf import settings
from django.utils import timezone
from django_q.models import Schedule

from brokers.exchange_calendar import NEW_YORK

SWEEP_MINUTES = 1
REPEATS = -1
"""Number of times that a task of the queue is repeated: without a limit."""
SCHEDULES = {
    # `qworker` sweeps more often; this task is for plain `qcluster`.
    "sweep": ("trading.tasks.sweep", Schedule.MINUTES, SWEEP_MINUTES),
    # Brokers report executions of the current day only: unknown orders are looked up while they can be found.
    "recover open orders": ("trading.tasks.recover_open_orders", Schedule.MINUTES, 5),
    # Only a hint: the rows and the calendar decide which accounts start, and whether there is a session.
    "market open": ("trading.tasks.market_open", Schedule.DAILY, None),
    # Does nothing until a session has closed; frequent, so that a missed close is valued soon.
    "values": ("trading.tasks.record_values", Schedule.MINUTES, 30),
    # Finds settings that were changed behind Django's back, and repeats lost hints.
    "standings": ("trading.tasks.compare_standings", Schedule.MINUTES, 1),
    # Deletes expired rows at night.
    "tidy": ("trading.tasks.tidy", Schedule.DAILY, None),
}
AT = {"tidy": time(3, 30)}
"""New York times of daily tasks; the others run at the open."""


def are_complete() -> bool:
    """Return whether the queue's schedules are those of `SCHEDULES`, each once and active."""
    stored = Schedule.objects.values_list("name", "func", "schedule_type", "minutes", "repeats")
    defined = Counter((name, *definition, REPEATS) for name, definition in SCHEDULES.items())
    return Counter(stored) == defined


def sync_schedules() -> None:
    """Make the queue's schedules equal to `SCHEDULES`; delete all others."""
    Schedule.objects.exclude(name__in=SCHEDULES).delete()
    for name, (function, kind, minutes) in SCHEDULES.items():
        known = Schedule.objects.filter(name=name)
        wanted = {
            "func": function,
            "schedule_type": kind,
            "minutes": minutes,
            "repeats": REPEATS,
            "args": None,
            "kwargs": None,
        }
        if known.count() > 1:
            known.delete()
        if not known.update(**wanted):
            Schedule.objects.create(name=name, next_run=_first_run(name, kind), **wanted)


def _first_run(name: str, kind: str) -> datetime:
    now = timezone.now()
    if kind != Schedule.DAILY:
        return now + timedelta(seconds=5)
    # The queue adds days in New York time, so that daylight saving does not move the task.
    at_open = datetime.combine(now.astimezone(NEW_YORK).date(), AT.get(name, settings.MARKET_OPEN_TIME), NEW_YORK)
    return at_open if at_open > now else at_open + timedelta(days=1)
