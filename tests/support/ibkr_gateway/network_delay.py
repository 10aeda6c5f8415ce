"""A queue with network latency, which keeps the order of its items."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class DelayedQueue(Generic[T]):
    """Delivers each item after a fixed number of seconds, in order."""

    def __init__(self, seconds: float, deliver: Callable[[T], None]) -> None:
        self._seconds = seconds
        self._deliver = deliver
        self._items: deque[tuple[float, T]] = deque()
        self._handle: asyncio.TimerHandle | None = None

    def put(self, item: T) -> None:
        if not self._seconds:
            self._deliver(item)
            return
        loop = asyncio.get_running_loop()
        self._items.append((loop.time() + self._seconds, item))
        if self._handle is None:
            self._handle = loop.call_at(self._items[0][0], self._run)

    def close(self) -> None:
        """Discard the items that are not delivered yet."""
        self._items.clear()
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _run(self) -> None:
        loop = asyncio.get_running_loop()
        self._handle = None
        while self._items and self._items[0][0] <= loop.time() + 0.0005:
            self._deliver(self._items.popleft()[1])
        if self._items and self._handle is None:
            self._handle = loop.call_at(self._items[0][0], self._run)
