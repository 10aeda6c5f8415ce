"""A crash-only sentinel for django-q2: a dead process is not replaced, it ends the whole cluster.

After a replaced pusher or monitor, or a worker that died while it held a queue lock, a cluster can look healthy and do
nothing, for ever. A recycled worker and one that exceeded its time limit are replaced as before: both exit normally and
hold no lock. This relies on `Sentinel.reincarnate(process)` being the only place where a dead process is replaced, and
on `process.timer.value` being -2 for recycled and 0 for out of time; a test checks both.
"""

import contextlib
import os
import signal

from django_q.cluster import Sentinel, logger

CRASHED = 70
"""Exit code of a cluster that one of its processes brought down."""
RECYCLED, OUT_OF_TIME = -2, 0
"""Timer values of django-q2."""


class CrashOnlySentinel(Sentinel):  # type: ignore[misc]  # django-q2 has no types
    """Ends the whole cluster when one of its processes dies."""

    def reincarnate(self, process) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
        """Replace a worker that was recycled or timed out; for any other dead process end the cluster."""
        if process in self.pool and int(process.timer.value) in {RECYCLED, OUT_OF_TIME}:
            super().reincarnate(process)
            return
        logger.critical("%s (pid %s) died; ending the whole cluster", process.name, process.pid)
        for other in (*self.pool, self.monitor, self.pusher):
            with contextlib.suppress(ProcessLookupError):
                os.kill(other.pid, signal.SIGKILL)
        os._exit(CRASHED)
