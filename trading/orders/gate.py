"""Let orders leave one at a time: each waits for its turn at the broker, and is then checked and sent at once.

What is committed while an order waits for its turn, such as a kill switch, is therefore obeyed by that order. Of all
runs of a connection, at most one order is between its check and the broker.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from brokers.base import BrokerClient
from brokers.broker_types import OrderResult
from brokers.exceptions import BrokerError
from trading.common.fail_points import FailPoint, reached
from trading.errors import AccountChanged, TradingError
from trading.journal.run_journal import RunJournal

Check = Callable[[bool], Awaitable[None]]
"""Raises `TradingError` if an order may not leave now. The argument: whether an order of the run was sent before."""


class OrderGate:
    """The gate of one run. Once it has refused an order, no further order of the run leaves."""

    def __init__(
        self, client: BrokerClient, turn: asyncio.Lock, journal: RunJournal, check: Check, *, has_sent: bool
    ) -> None:
        self._client = client
        self._turn = turn
        self._journal = journal
        self._check = check
        self.has_sent = has_sent
        self.refusal: TradingError | None = None

    def close(self, reason: TradingError) -> None:
        """Let no further order leave. The first reason is kept."""
        self.refusal = self.refusal or reason

    async def is_open(self) -> bool:
        """Check whether an order may leave now."""
        if self.refusal is None:
            try:
                await self._check(self.has_sent)
            except TradingError as refusal:
                self.close(refusal)
        return self.refusal is None

    async def send(
        self, account_id: str, place: Callable[[], Coroutine[Any, Any, OrderResult]]
    ) -> "asyncio.Task[OrderResult] | None":
        """Send an order in its turn.

        Returns:
            The sending, whose result is the broker's acknowledgement; None if the order may not leave.

        Raises:
            BrokerError: the connection was lost before. The order was not sent.
            LeaseLost: another process has claimed the slot. The order was not sent.
        """
        async with self._turn:
            if self.refusal is None:
                await self._wait_for_turn()
            if not await self.is_open():
                return None
            reached(FailPoint.BEFORE_SEND, account_id)
            sending = asyncio.ensure_future(place())
            self.has_sent = True
            await asyncio.sleep(0)  # it leaves before the next order is checked
        return sending

    async def _wait_for_turn(self) -> None:
        try:
            await self._client.wait_for_turn()
        except BrokerError as error:
            self.close(AccountChanged(error.message))  # the other orders of the run do not wait for the same error
            raise
        await self._journal.check_lease()  # a process that was paused learns here that it has lost the slot
