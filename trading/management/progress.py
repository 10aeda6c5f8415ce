"""How far a long command has come: a moving line on a terminal, plain lines elsewhere, on standard error always."""

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

LOOK_AGAIN_SECONDS = 0.3
ORDERS_SENT = (RunStep.SELLS, RunStep.BUYS, RunStep.REPORT, RunStep.DONE)


def _moving_line(stream: TextIO) -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=30),
        TextColumn("{task.fields[so_far]}", markup=False),
        TimeElapsedColumn(),
        console=Console(file=stream, force_terminal=True),
        transient=True,
    )


class RunProgress:
    """Tells the story of a run while it is carried out; it reads the run's rows, whoever works on it."""

    def __init__(self, run: RebalanceRun, stream: TextIO) -> None:
        self._run, self._stream = run, stream
        self._told, self._trades = 0, 0
        self._ended = Event()
        self._thread = Thread(target=self._follow, name="progress", daemon=True)
        self._line = _moving_line(stream) if stream.isatty() else None
        self._task: TaskID | None = None
        self._log_streams: list[tuple[logging.StreamHandler[Any], Any]] = []

    def __enter__(self) -> Self:
        if self._line is not None:
            self._line.start()
            self._task = self._line.add_task("Waiting", total=None, so_far="")
            self._log_above_the_line()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._ended.set()
        self._thread.join()
        for handler, stream in self._log_streams:
            handler.setStream(stream)
        if self._line is not None:
            self._line.stop()

    def _log_above_the_line(self) -> None:
        for handler in logging.getLogger().handlers:
            if isinstance(handler, logging.StreamHandler) and handler.stream is self._stream:
                self._log_streams.append((handler, handler.stream))
                handler.setStream(sys.stderr)  # which the moving line has taken over

    def _follow(self) -> None:
        ended = False
        while not ended:
            ended = self._ended.wait(LOOK_AGAIN_SECONDS)  # and then looks once more, for what was said last
            try:
                self._look()
            except DatabaseError:  # the run itself says what is wrong
                connections.close_all()
        connections.close_all()

    def _look(self) -> None:
        for entry in self._run.timeline.filter(pk__gt=self._told).order_by("pk"):
            self._told = entry.pk
            words = f"{timezone.localtime(entry.at):%H:%M:%S} {entry.message}"
            if self._line is None:
                self._stream.write(f"{words}\n")
                self._stream.flush()
            else:
                self._line.console.print(words, markup=False, highlight=False)
        if self._line is not None and self._task is not None:
            self._move(self._line, self._task)

    def _move(self, line: Progress, task: TaskID) -> None:
        now = RebalanceRun.objects.only("step").get(pk=self._run.pk)
        filled = Order.objects.filter(run=self._run, state=OrderState.FILLED).count()
        if not self._trades and now.step in ORDERS_SENT:
            result = RebalanceRun.objects.values_list("result", flat=True).get(pk=self._run.pk)
            self._trades = len(result.get("trades", [])) if self._run.mode == "execute" else 0
        line.update(
            task,
            description=now.get_step_display(),
            completed=filled,
            total=self._trades or None,
            so_far=f"{filled} of {self._trades} orders filled" if self._trades else "",
        )


def one_by_one(runs: Iterable[RebalanceRun], what: str, stream: TextIO) -> Iterator[RebalanceRun]:
    """The runs, each told of before it is taken up."""
    runs = list(runs)
    if not stream.isatty():
        for number, run in enumerate(runs, 1):
            stream.write(f"{what} run {run.run_id}, {number} of {len(runs)}\n")
            yield run
        return
    with _moving_line(stream) as line:
        task = line.add_task(what, total=len(runs), so_far="")
        for number, run in enumerate(runs, 1):
            line.update(task, description=f"{what} run {run.run_id}", so_far=f"{number} of {len(runs)}")
            yield run
            line.advance(task)
