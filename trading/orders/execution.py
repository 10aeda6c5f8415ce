"""Orders, from the committed row to proof of their end. No order is sent twice, none is left alive unseen."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.utils import timezone

from brokers.base import BrokerClient
from brokers.broker_types import Execution, OrderResult, OrderUpdate
from brokers.exceptions import (
    BrokerAPIError,
    BrokerConnectionError,
    BrokerError,
    CapabilityMissing,
    OrderExecutionError,
    OrderRejected,
)
from brokers.exchange_calendar import Session
from trading.common.concurrency import run_to_completion
from trading.common.fail_points import FailPoint, reached
from trading.journal.orders import OrderView
from trading.journal.run_journal import RunJournal
from trading.models import OrderState
from trading.orders.reconciliation import Reconciler
from trading.orders.update_router import OrderUpdateRouter

logger = logging.getLogger("rebalancer.trading")

AT_ONCE_SECONDS = 0.3
"""For so long a fill may take to be written together with the acknowledgement of its order."""
QUIET_SECONDS = 10.0  # after so long without a word of an order we ask: a status may never come by itself


@dataclass(frozen=True)
class Deadlines:
    """How long each wait may take, in seconds."""

    order: float
    cancel: float
    fills: float = 5.0


def _brings_an_end(word: OrderUpdate) -> bool:
    return isinstance(word, Execution) or word.status.is_terminal


class OrderPhase:
    """Sends the orders of one phase, all at once, and follows each to its end."""

    def __init__(
        self,
        *,
        client: BrokerClient,
        desk: OrderUpdateRouter,
        journal: RunJournal,
        reconciler: Reconciler,
        account_id: str,
        session_of: Callable[[datetime], Session],
        deadlines: Deadlines,
    ) -> None:
        self._client = client
        self._desk = desk
        self._journal = journal
        self._reconciler = reconciler
        self._account_id = account_id
        self._session_of = session_of
        self._deadlines = deadlines

    async def carry_out(self, orders: Sequence[OrderView]) -> list[OrderView]:
        """Sends the orders and waits for the end of each; one that fails does not stop the others.

        Returns:
            The orders as they ended, in the order given; some may be `unknown`.

        Raises:
            BrokerConnectionError: the link is gone; the rows say which orders have to be reconciled.
            LeaseLost: another process goes on.
        """
        if why := await self._why_not():
            return [await self._journal.mark(order, OrderState.CANCELLED, f"Not sent: {why}") for order in orders]
        for order in orders:
            self._desk.watch(order.client_order_id)
        # One transaction for all of them; it stands before the first is sent.
        day = self._session_of(timezone.now()).day
        submitting = asyncio.create_task(self._journal.mark_submitting(orders, day), name="submitting")
        ended = await asyncio.gather(
            *(self._follow(number, submitting) for number in range(len(orders))), return_exceptions=True
        )
        done: list[OrderView] = []
        for outcome in ended:
            if isinstance(outcome, BaseException):
                raise outcome
            done.append(outcome)
        return done

    async def _why_not(self) -> str:
        """Asked for each phase: the sells before it may have taken until after the close."""
        if await self._journal.stop_requested():
            return "a person stopped it."
        now = timezone.now()
        return "" if self._session_of(now).is_open_at(now) else "the session has closed."

    async def _follow(self, number: int, submitting: "asyncio.Task[list[OrderView]]") -> OrderView:
        order = await run_to_completion(self._submit(number, submitting))
        if order.state == OrderState.UNKNOWN:
            order = await self._reconciler.settle(order)
        if order.state in OrderState.open_states() and order.state != OrderState.UNKNOWN:
            order = await self._until_settled(order, self._deadlines.order)
        if not order.is_resolved and order.state != OrderState.UNKNOWN:
            order = await self.cancel_and_confirm(order)
        order = await self._with_all_fills(order)
        reached(FailPoint.ORDER_ENDED, self._account_id)
        return order

    async def _submit(self, number: int, submitting: "asyncio.Task[list[OrderView]]") -> OrderView:
        """From the committed row to the broker's first word, recorded."""
        order = (await submitting)[number]
        # Asked after the commit: a process that was paused before it finds out here that another has gone on.
        await self._journal.check_lease()
        reached(FailPoint.BEFORE_SEND, self._account_id)
        return await self._send(order)

    async def _send(self, order: OrderView) -> OrderView:
        try:
            result = await self._client.place_order(
                self._account_id,
                order.symbol,
                order.quantity,
                order.order_type,
                order.limit_price,
                client_order_id=order.client_order_id,
                time_in_force=order.time_in_force,
            )
        except (OrderRejected, CapabilityMissing) as error:
            logger.warning("Order %s of %s was refused: %s", order.client_order_id, order.symbol, error.message)
            return await self._journal.mark(order, OrderState.REJECTED, error.message)
        except BrokerError as error:
            # Whatever else went wrong, the order may exist.
            logger.warning("Order %s of %s: fate unknown: %s", order.client_order_id, order.symbol, error.message)
            return await self._journal.mark(order, OrderState.UNKNOWN, error.message)
        reached(FailPoint.SENT, self._account_id)
        order = await self._hear_first_words(order, result)
        reached(FailPoint.ACKNOWLEDGED, self._account_id)
        return order

    async def _hear_first_words(self, order: OrderView, result: OrderResult) -> OrderView:
        """The broker's first word, recorded together with the fill that mostly follows at once."""
        said: list[OrderUpdate] = [result]
        try:
            async with asyncio.timeout(AT_ONCE_SECONDS):
                while not any(_brings_an_end(word) for word in said):
                    said += await self._desk.next_updates(order.client_order_id)
        except TimeoutError:
            pass
        except BrokerConnectionError:
            await self._journal.apply(order, *said)
            raise
        return await self._journal.apply(order, *said)

    async def _until_settled(self, order: OrderView, seconds: float) -> OrderView:
        """Follows the order's updates until its end or the deadline, whichever is first."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while not order.is_resolved and (left := deadline - loop.time()) > 0:
            try:
                async with asyncio.timeout(min(left, QUIET_SECONDS)):
                    updates = await self._desk.next_updates(order.client_order_id)
            except TimeoutError:
                order = await self.asked(order)
            else:
                order = await self._journal.apply(order, *updates)
        return order

    async def cancel_and_confirm(self, order: OrderView, why: str = "not filled in time") -> OrderView:
        """Cancels what is left of an order and waits for proof of its end; without it, it is `unknown`."""
        await self._journal.add_timeline_entry(
            "deadline", f"{order.symbol}: {why}; cancelling what is left.", "warning"
        )
        try:
            await self._client.cancel_order(self._account_id, order.broker_order_id)
        except (OrderExecutionError, BrokerAPIError) as error:
            logger.warning("Cancel of %s was not taken: %s", order.client_order_id, error.message)
        reached(FailPoint.CANCEL_REQUESTED, self._account_id)
        order = await self._until_settled(order, self._deadlines.cancel)
        if not order.is_resolved:
            order = await self.asked(order)
        if not order.is_resolved:
            order = await self._journal.mark(
                order, OrderState.UNKNOWN, "The broker did not confirm the cancel: the order may be alive."
            )
        return order

    async def _with_all_fills(self, order: OrderView) -> OrderView:
        """Waits a little for executions and commissions that come after the status; then asks for them."""
        if order.fills_complete or order.state == OrderState.UNKNOWN:
            return order
        try:
            async with asyncio.timeout(self._deadlines.fills):
                while not order.fills_complete:
                    updates = await self._desk.next_updates(order.client_order_id)
                    order = await self._journal.apply(order, *updates)
        except TimeoutError:
            order = await self.asked(order)
        return order

    async def asked(self, order: OrderView) -> OrderView:
        """The order as the broker's records have it; a look-up that fails proves nothing, and nothing ends by it."""
        try:
            return await self._reconciler.refresh(order)
        except BrokerAPIError as error:
            logger.warning("Order %s could not be looked up: %s", order.client_order_id, error.message)
            return order
