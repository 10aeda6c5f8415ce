"""The queue and its workers."""

from django_q.models import Schedule

from trading.monitoring.doctor.findings import Finding, ok, problem
from trading.monitoring.status import overview
from trading.queue.schedules import SCHEDULES

CHECK = "queue"
MANY_TASKS = 500


def check() -> list[Finding]:
    """Workers, waiting tasks, and the schedules that the code wants."""
    return [_workers(), _schedules()]


def _workers() -> Finding:
    now = overview()
    words = f"{now.queued_tasks} tasks wait"
    if not now.workers_alive:
        to_do = "Start `manage.py qworker`, under a supervisor that starts it again."
        return problem(CHECK, f"No worker has shown a sign of life; {words}.", to_do)
    if now.queued_tasks > MANY_TASKS:
        return problem(CHECK, f"Workers are alive, but {words}.", "Start more workers, and look at their log.")
    return ok(CHECK, f"Workers are alive; {words}.")


def _schedules() -> Finding:
    there = set(Schedule.objects.values_list("name", flat=True))
    if there != set(SCHEDULES):
        words = f"The queue's schedules are {', '.join(sorted(there)) or 'none'}, not {', '.join(sorted(SCHEDULES))}."
        return problem(CHECK, words, "Run `manage.py migrate`, which puts them right.")
    return ok(CHECK, "The queue's schedules are those of the code.")
