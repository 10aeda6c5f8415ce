"""Real worker processes under a supervisor that restarts a dead one immediately, without Django's startup time.

Run as `python -m tests.support.supervised DIRECTORY COUNT`. Each child executes the tasks that the queue would deliver,
as soon as rows are ready; it can be killed like any process. The supervisor forks before it uses the database, and writes
the deaths and the process ids of its children to the directory.
"""

import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

POLL_SECONDS = 0.05
RECOVERY_SECONDS = 1.0


def main(directory: Path, count: int) -> None:
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "rebalancer_site.settings")
    django.setup()
    import trading.tasks  # noqa: F401 - imported once for all children

    children: dict[int, int] = {}
    while True:
        for place in range(count):
            if place not in children.values():
                children[_start(place, count)] = place
                (directory / "children").write_text(" ".join(map(str, children)))
        pid, status = os.waitpid(-1, 0)
        children.pop(pid, None)
        with (directory / "deaths").open("a") as log:
            log.write(f"{pid} {os.waitstatus_to_exitcode(status)}\n")


def _start(place: int, count: int) -> int:
    pid = os.fork()
    if pid:
        return pid
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        _work(place, count)
    finally:
        os._exit(1)


def _work(place: int, count: int) -> None:
    from django.db import DatabaseError, connections

    recovered_at = 0.0
    while True:
        try:
            worked = _work_once(place, count)
            if time.monotonic() - recovered_at > RECOVERY_SECONDS:
                recovered_at = time.monotonic()
                _recover()
        except DatabaseError:
            worked = False
            with suppress(DatabaseError):
                connections.close_all()
        if not worked:
            time.sleep(POLL_SECONDS)  # the database sends no notification


def _work_once(place: int, count: int) -> bool:
    from accounts.models import BrokerConnection
    from trading import tasks
    from trading.journal.claims import has_ready_runs, requeue_due_runs
    from trading.models import Delivery

    requeue_due_runs()
    slots = list(BrokerConnection.objects.order_by("pk").values_list("pk", flat=True))
    turn = place * len(slots) // count
    worked = False
    for pk in slots[turn:] + slots[:turn]:
        if has_ready_runs(pk) and tasks.advance(pk) == "worked":
            worked = True
    if Delivery.objects.filter(state="pending").exists():
        tasks.deliver_notifications()
    return worked


def _recover() -> None:
    from trading import tasks
    from trading.engine.open_order_recovery import ended_runs_with_open_orders

    if ended_runs_with_open_orders():
        tasks.recover_open_orders()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
