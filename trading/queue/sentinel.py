"""django-q2's guard, made crash-only: what dies is not replaced, it ends the whole cluster.

A replaced pusher or monitor, or a worker that died while it held a queue's lock, leaves a cluster that looks alive
and does nothing, for ever. A recycled worker and one that ran out of time are replaced as before: both end by
themselves and hold nothing. Relies on `Sentinel.reincarnate(process)` being the one place where a dead process is
replaced, and on `process.timer.value` being -2 for recycled and 0 for out of time; a test holds on to that.
"""

import contextlib
import os
import signal

from django_q.cluster import Sentinel, logger

CRASHED = 70
RECYCLED, OUT_OF_TIME = -2, 0


class CrashOnlySentinel(Sentinel):  # type: ignore[misc]  # django-q2 has no types
    """Ends everything when a process of the cluster dies."""

    def reincarnate(self, process) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
        """Replaces a worker that ended by itself; for any other death ends the cluster."""
        if process in self.pool and int(process.timer.value) in {RECYCLED, OUT_OF_TIME}:
            super().reincarnate(process)
            return
        logger.critical("%s (pid %s) died; ending the whole cluster", process.name, process.pid)
        for other in (*self.pool, self.monitor, self.pusher):
            with contextlib.suppress(ProcessLookupError):
                os.kill(other.pid, signal.SIGKILL)
        os._exit(CRASHED)
