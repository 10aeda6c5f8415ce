"""Notify the workers of a cluster, in the middle of a task, that they must stop.

The queue lets a worker finish its task, and a task may follow orders for minutes. So `qworker` creates a pipe before it
forks, and writes to it when it is stopped; a worker watches that pipe while it works. In a process of its own (the
`rebalance` command, a single worker) SIGTERM has the same effect.
"""

import asyncio
import os
import signal
import threading
from dataclasses import dataclass


@dataclass
class _Pipe:
    read_end: int | None = None
    write_end: int | None = None


_pipe = _Pipe()


def create_pipe() -> None:
    """Create the pipe; call this once, before the workers are forked."""
    _pipe.read_end, _pipe.write_end = os.pipe()


def is_qworker() -> bool:
    """Return whether this is `qworker` or a worker that it forked, and not plain `qcluster`."""
    return _pipe.read_end is not None


def notify_workers() -> None:
    """Notify every worker, present and future: nobody reads the bytes, so that the pipe stays readable."""
    if _pipe.write_end is not None:
        os.write(_pipe.write_end, b"stop")


@dataclass
class StopRequest:
    """Whether this process was requested to stop, and whether by a signal."""

    event: asyncio.Event
    by_signal: bool = False

    def on_signal(self) -> None:
        """Handle SIGTERM."""
        self.by_signal = True
        self.event.set()


def watch() -> StopRequest:
    """Watch for a request to stop this process; valid for the running loop."""
    request = StopRequest(asyncio.Event())
    loop = asyncio.get_running_loop()
    if _pipe.read_end is not None:
        read_end = _pipe.read_end

        def on_readable() -> None:
            loop.remove_reader(read_end)  # the pipe stays readable, and one call is enough
            request.event.set()

        loop.add_reader(read_end, on_readable)
    if threading.current_thread() is threading.main_thread():
        loop.add_signal_handler(signal.SIGTERM, request.on_signal)
    return request
