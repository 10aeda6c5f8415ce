"""Steps that go on at the same time, and end together."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar, overload

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")


@overload
async def together(one: Coroutine[Any, Any, A], two: Coroutine[Any, Any, B], /) -> tuple[A, B]: ...
@overload
async def together(
    one: Coroutine[Any, Any, A], two: Coroutine[Any, Any, B], three: Coroutine[Any, Any, C], /
) -> tuple[A, B, C]: ...
@overload
async def together(
    one: Coroutine[Any, Any, A],
    two: Coroutine[Any, Any, B],
    three: Coroutine[Any, Any, C],
    four: Coroutine[Any, Any, D],
    /,
) -> tuple[A, B, C, D]: ...
@overload
async def together(*steps: Coroutine[Any, Any, A]) -> tuple[A, ...]: ...
async def together(*steps: Coroutine[Any, Any, Any]) -> tuple[Any, ...]:
    """What the steps return, in their order; the first failure ends the others before it is passed on.

    `asyncio.gather` would leave the others running: they would ask the broker and write on behind a run that has ended.
    """
    tasks = [asyncio.ensure_future(step) for step in steps]
    try:
        return tuple(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
