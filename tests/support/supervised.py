"""Real worker processes under a supervisor that starts a dead one again at once, without the second that Django takes.

Run as `python -m tests.support.supervised DIRECTORY COUNT`. Each child carries out the same tasks that the queue
delivers, as soon as the rows say that there is something to do; it is killed as any process is. The supervisor forks
before it has used the database, writes each child's death and the living children's ids to the directory.
"""

import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

LOOK_AGAIN_SECONDS = 0.05
SETTLE_SECONDS = 1.0


def main(directory, count):
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "rebalancer_site.settings")
    django.setup()
    import trading.tasks  # noqa: F401 - loaded once, for all children

    children = {}
    while True:
        for place in range(count):
            if place not in children.values():
                children[_start(place, count)] = place
                (directory / "children").write_text(" ".join(map(str, children)))
        pid, status = os.waitpid(-1, 0)
        children.pop(pid, None)
        with (directory / "deaths").open("a") as log:
            log.write(f"{pid} {os.waitstatus_to_exitcode(status)}\n")


def _start(place, count):
    pid = os.fork()
    if pid:
        return pid
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        _work(place, count)
    finally:
        os._exit(1)


def _work(place, count):
    from django.db import DatabaseError, connections

    settled_at = 0.0
    while True:
        try:
            did = _look(place, count)
            if time.monotonic() - settled_at > SETTLE_SECONDS:
                settled_at = time.monotonic()
                _settle()
        except DatabaseError:
            did = False
            with suppress(DatabaseError):
                connections.close_all()
        if not did:
            time.sleep(LOOK_AGAIN_SECONDS)  # a database tells nobody that a row has come


def _look(place, count):
    from accounts.models import BrokerConnection
    from trading import tasks
    from trading.journal.claims import has_ready_runs, requeue_due_runs
    from trading.models import Notification

    requeue_due_runs()
    slots = list(BrokerConnection.objects.order_by("pk").values_list("pk", flat=True))
    turn = place * len(slots) // count
    did = False
    for pk in slots[turn:] + slots[:turn]:
        if has_ready_runs(pk) and tasks.advance(pk) == "worked":
            did = True
    if Notification.objects.filter(state="pending").exists():
        tasks.deliver_notifications()
    return did


def _settle():
    from trading import tasks
    from trading.engine.open_order_recovery import ended_runs_with_open_orders

    if ended_runs_with_open_orders():
        tasks.recover_open_orders()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
