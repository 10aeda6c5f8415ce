"""Tells the workers of a cluster that they are to stop, in the middle of a task.

The queue lets a worker finish its task, and a task may follow orders for minutes. So `qworker` makes a pipe before it
forks, and writes to it when it is told to stop; a worker waits for that beside all else. In a process of its own (the
`rebalance` command, a single worker) SIGTERM says the same.
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
    """Makes the pipe; to be called once, before the workers are forked."""
    _pipe.read_end, _pipe.write_end = os.pipe()


def is_qworker() -> bool:
    """Whether this is `qworker`, or a worker that it forked; not so in one of plain `qcluster`."""
    return _pipe.read_end is not None


def notify_workers() -> None:
    """Tells every worker, now and from now on: what is written is never read away."""
    if _pipe.write_end is not None:
        os.write(_pipe.write_end, b"stop")


@dataclass
class StopRequest:
    """Whether this process was told to stop, and how."""

    event: asyncio.Event
    by_signal: bool = False

    def on_signal(self) -> None:
        """SIGTERM came."""
        self.by_signal = True
        self.event.set()


def watch() -> StopRequest:
    """Hears that this process is to stop; for the running loop, until that ends."""
    told = StopRequest(asyncio.Event())
    loop = asyncio.get_running_loop()
    if _pipe.read_end is not None:
        read_end = _pipe.read_end

        def hear() -> None:
            loop.remove_reader(read_end)  # it stays readable, and once is enough
            told.event.set()

        loop.add_reader(read_end, hear)
    if threading.current_thread() is threading.main_thread():
        loop.add_signal_handler(signal.SIGTERM, told.on_signal)
    return told
