"""`manage.py qworker`: workers that die whole rather than live on half, for a supervisor to start again."""

import os
import signal
import socket
import threading
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand
from django.db import DatabaseError, connections
from django_q import cluster

from trading.queue import shutdown as stopping_workers
from trading.queue.sentinel import CRASHED, CrashOnlySentinel
from trading.schedule.sweeper import record_heartbeat, sweep

WATCH_SECONDS = 0.5


class Command(BaseCommand):
    """Runs the workers."""

    help = "Runs the workers. If a part of them dies, all end with exit code 70: start them again."

    def handle(self, *_: Any, **__: Any) -> None:
        """Runs until it is told to stop, or something dies."""
        cluster.Sentinel = CrashOnlySentinel  # the class that Cluster.start looks up and forks
        workers = cluster.Cluster()
        stopping_workers.create_pipe()
        workers.start()
        stopping = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: stopping.set())
        signal.signal(signal.SIGINT, lambda *_: stopping.set())
        # After the fork, so that no thread is lost in a child.
        threading.Thread(target=_sweep_until, args=(stopping,), name="sweeper", daemon=True).start()
        sentinel = workers.sentinel
        while not stopping.wait(WATCH_SECONDS):
            if not sentinel.is_alive():
                self.stderr.write(f"The workers have died (exit code {sentinel.exitcode}).")
                os._exit(CRASHED)  # nothing that is left may hold up the end
        stopping_workers.notify_workers()
        workers.stop()


def _sweep_until(stopping: threading.Event) -> None:
    name = f"worker:{socket.gethostname()}:{os.getpid()}"
    while not stopping.is_set():
        try:
            record_heartbeat(name, "worker", pid=os.getpid(), host=socket.gethostname())
            sweep()
        except DatabaseError:
            cluster.logger.exception("The sweep failed; the next one may not")
        finally:
            connections.close_all()
        stopping.wait(settings.SWEEP_SECONDS)
