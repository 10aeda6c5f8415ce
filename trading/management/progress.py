"""Progress of a long command on standard error: a progress line on a terminal, otherwise plain lines."""

import logging
import sys
from collections.abc import Iterable, Iterator
from threading import Event, Thread
from types import TracebackType
from typing import Any, Self, TextIO

from django.db import DatabaseError, connections
from django.utils import timezone
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from trading.models import Order, OrderState, RebalanceRun, RunStep

POLL_SECONDS = 0.3
ORDER_STEPS = (RunStep.SELLS, RunStep.BUYS, RunStep.REPORT, RunStep.DONE)


def _progress_line(stream: TextIO) -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=30),
        TextColumn("{task.fields[progress]}", markup=False),
        TimeElapsedColumn(),
        console=Console(file=stream, force_terminal=True),
        transient=True,
    )


class RunProgress:
    """Prints the timeline of a run while it is executed, in this process or by a worker. Reads the run's rows only."""

    def __init__(self, run: RebalanceRun, stream: TextIO) -> None:
        self._run, self._stream = run, stream
        self._last_entry, self._trades = 0, 0
        self._ended = Event()
        self._thread = Thread(target=self._follow, name="progress", daemon=True)
        self._line = _progress_line(stream) if stream.isatty() else None
        self._task: TaskID | None = None
        self._log_streams: list[tuple[logging.StreamHandler[Any], Any]] = []

    def __enter__(self) -> Self:
        if self._line is not None:
            self._line.start()
            self._task = self._line.add_task("Waiting", total=None, progress="")
            self._redirect_log()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._ended.set()
        self._thread.join()
        for handler, stream in self._log_streams:
            handler.setStream(stream)
        if self._line is not None:
            self._line.stop()

    def _redirect_log(self) -> None:
        for handler in logging.getLogger().handlers:
            if isinstance(handler, logging.StreamHandler) and handler.stream is self._stream:
                self._log_streams.append((handler, handler.stream))
                handler.setStream(sys.stderr)  # which the progress line has replaced

    def _follow(self) -> None:
        ended = False
        while not ended:
            ended = self._ended.wait(POLL_SECONDS)  # then polls once more, for the last entries
            try:
                self._poll()
            except DatabaseError:  # the run itself reports it
                connections.close_all()
        connections.close_all()

    def _poll(self) -> None:
        for entry in self._run.timeline.filter(pk__gt=self._last_entry).order_by("pk"):
            self._last_entry = entry.pk
            text = f"{timezone.localtime(entry.at):%H:%M:%S} {entry.message}"
            if self._line is None:
                self._stream.write(f"{text}\n")
                self._stream.flush()
            else:
                self._line.console.print(text, markup=False, highlight=False)
        if self._line is not None and self._task is not None:
            self._update(self._line, self._task)

    def _update(self, line: Progress, task: TaskID) -> None:
        run = RebalanceRun.objects.only("step").get(pk=self._run.pk)
        filled = Order.objects.filter(run=self._run, state=OrderState.FILLED).count()
        if not self._trades and run.step in ORDER_STEPS:
            result = RebalanceRun.objects.values_list("result", flat=True).get(pk=self._run.pk)
            self._trades = len(result.get("trades", [])) if self._run.mode == "execute" else 0
        line.update(
            task,
            description=run.get_step_display(),
            completed=filled,
            total=self._trades or None,
            progress=f"{filled} of {self._trades} orders filled" if self._trades else "",
        )


def with_progress(runs: Iterable[RebalanceRun], action: str, stream: TextIO) -> Iterator[RebalanceRun]:
    """Yield the runs, and print each one before it is processed; `action` is the verb to print."""
    runs = list(runs)
    if not stream.isatty():
        for number, run in enumerate(runs, 1):
            stream.write(f"{action} run {run.run_id}, {number} of {len(runs)}\n")
            yield run
        return
    with _progress_line(stream) as line:
        task = line.add_task(action, total=len(runs), progress="")
        for number, run in enumerate(runs, 1):
            line.update(task, description=f"{action} run {run.run_id}", progress=f"{number} of {len(runs)}")
            yield run
            line.advance(task)
