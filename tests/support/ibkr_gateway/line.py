"""A line that takes its time and keeps the order."""

import asyncio
from collections import deque


class DelayedLine:
    """Hands each item on, in order, so many seconds after it was put in."""

    def __init__(self, seconds, deliver):
        self._seconds = seconds
        self._deliver = deliver
        self._items = deque()
        self._handle = None

    def put(self, item):
        if not self._seconds:
            self._deliver(item)
            return
        loop = asyncio.get_running_loop()
        self._items.append((loop.time() + self._seconds, item))
        if self._handle is None:
            self._handle = loop.call_at(self._items[0][0], self._run)

    def close(self):
        """Forgets what is on its way."""
        self._items.clear()
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _run(self):
        loop = asyncio.get_running_loop()
        self._handle = None
        while self._items and self._items[0][0] <= loop.time() + 0.0005:
            self._deliver(self._items.popleft()[1])
        if self._items and self._handle is None:
            self._handle = loop.call_at(self._items[0][0], self._run)
