"""`manage.py qworker`: run the workers. If a part of them dies, all of them exit, and a supervisor restarts them."""

import os
import signal
import socket
import threading
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand
from django.db import DatabaseError, connections
from django_q import cluster

from trading.queue import shutdown
from trading.queue.sentinel import CRASHED, CrashOnlySentinel
from trading.schedule.sweeper import record_heartbeat, sweep

WATCH_SECONDS = 0.5


class Command(BaseCommand):
    help = "Run the workers. If a part of them dies, all of them exit with code 70 and must be restarted."

    def handle(self, *_: Any, **__: Any) -> None:
        cluster.Sentinel = CrashOnlySentinel  # the class that Cluster.start forks
        workers = cluster.Cluster()
        shutdown.create_pipe()
        workers.start()
        stopping = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: stopping.set())
        signal.signal(signal.SIGINT, lambda *_: stopping.set())
        # Started after the fork, because a forked child has no threads.
        threading.Thread(target=_sweep_until, args=(stopping,), name="sweeper", daemon=True).start()
        sentinel = workers.sentinel
        while not stopping.wait(WATCH_SECONDS):
            if not sentinel.is_alive():
                self.stderr.write(f"A part of the workers died (exit code {sentinel.exitcode}). Restart qworker.")
                os._exit(CRASHED)  # no remaining thread may delay the exit
        shutdown.notify_workers()
        workers.stop()


def _sweep_until(stopping: threading.Event) -> None:
    name = f"worker:{socket.gethostname()}:{os.getpid()}"
    while not stopping.is_set():
        try:
            record_heartbeat(name, "worker", pid=os.getpid(), host=socket.gethostname())
            sweep()
        except DatabaseError:
            cluster.logger.exception("The sweep failed. It will be repeated.")
        finally:
            connections.close_all()
        stopping.wait(settings.SWEEP_SECONDS)
