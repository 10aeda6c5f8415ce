"""Run, complete and cancel asyncio tasks without leaving one behind."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeVar, overload

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")

CANCEL_AGAIN_SECONDS = 0.2
"""Interval between two cancellations of a task that has not ended, in seconds."""


@overload
async def run_concurrently(one: Coroutine[Any, Any, A], two: Coroutine[Any, Any, B], /) -> tuple[A, B]: ...
@overload
async def run_concurrently(
    one: Coroutine[Any, Any, A], two: Coroutine[Any, Any, B], three: Coroutine[Any, Any, C], /
) -> tuple[A, B, C]: ...
@overload
async def run_concurrently(*steps: Coroutine[Any, Any, A]) -> tuple[A, ...]: ...
async def run_concurrently(*steps: Coroutine[Any, Any, Any]) -> tuple[Any, ...]:
    """Run the steps concurrently, and return their results in order. If one fails, cancel the others and wait for them.

    `asyncio.gather` would leave the others running: they would send requests and write rows after the run has ended.
    """
    tasks = [asyncio.ensure_future(step) for step in steps]
    try:
        return tuple(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def run_to_completion(step: Coroutine[Any, Any, A], on_cancel: Callable[[], None] = lambda: None) -> A:
    """Await a step that must complete, even if the awaiting task is cancelled in the meantime.

    `on_cancel` is called at that moment.
    """
    task = asyncio.ensure_future(step)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        on_cancel()
        raise
    finally:
        if not task.done():
            await asyncio.wait({task})


async def cancel_until_done(tasks: Iterable["asyncio.Task[Any]"]) -> None:
    """Cancel tasks until they end.

    `asyncio.wait_for` of Python 3.11, which the Ably SDK uses, can swallow a cancellation.
    """
    pending = {task for task in tasks if not task.done()}
    while pending:
        for task in pending:
            task.cancel()
        done, pending = await asyncio.wait(pending, timeout=CANCEL_AGAIN_SECONDS)
        for task in done:
            if not task.cancelled():
                task.exception()  # retrieved, so that asyncio does not log it as never retrieved
