"""Send orders and follow them to a final state. No order is sent twice, and none stays open unnoticed."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from django.utils import timezone

from brokers.base import BrokerClient
from brokers.broker_types import OrderResult, OrderUpdate
from brokers.exceptions import (
    BrokerAPIError,
    BrokerError,
    CapabilityMissing,
    OrderExecutionError,
    OrderRejected,
)
from brokers.exchange_calendar import Session
from trading.common.concurrency import run_to_completion
from trading.common.fail_points import FailPoint, reached
from trading.common.timings import Timings
from trading.errors import AccountChanged, Refused
from trading.journal.orders import OrderView
from trading.journal.run_journal import RunJournal
from trading.models import OrderState
from trading.orders.gate import OrderGate
from trading.orders.reconciliation import Reconciler
from trading.orders.update_router import OrderUpdateRouter

logger = logging.getLogger("rebalancer.trading")

CANCELLED_BY_USER = "A user stopped the run and cancelled its working orders."


@dataclass(frozen=True)
class OrderPhase:
    """Sends the orders of one phase concurrently and follows each to a final state."""

    client: BrokerClient
    updates: OrderUpdateRouter
    journal: RunJournal
    gate: OrderGate
    reconciler: Reconciler
    account_id: str
    session_of: Callable[[datetime], Session]
    order_timeout_seconds: float
    timings: Timings
    cancel_requested: asyncio.Event

    async def execute(self, orders: Sequence[OrderView]) -> list[OrderView]:
        """Send the orders and wait until each is resolved. One that fails does not stop the others.

        Returns:
            The orders in their final state, in the order given. Some may be `unknown`.

        Raises:
            BrokerConnectionError: the connection is lost. The rows show which orders have to be reconciled.
            LeaseLost: another process has claimed the slot.
        """
        if not await self.gate.is_open():
            return [await self.journal.mark(order, OrderState.CANCELLED, self._not_sent()) for order in orders]
        for order in orders:
            self.updates.watch(order.client_order_id)
        # One transaction marks all orders as submitting; it is committed before the first is sent.
        day = self.session_of(timezone.now()).day
        submitting = asyncio.create_task(self.journal.mark_submitting(orders, day), name="submitting")
        tasks = [asyncio.create_task(self._send_and_follow(number, submitting)) for number in range(len(orders))]
        await asyncio.gather(*tasks, return_exceptions=True)
        return [task.result() for task in tasks]

    async def _send_and_follow(self, number: int, submitting: "asyncio.Task[list[OrderView]]") -> OrderView:
        order = await run_to_completion(self._submit(number, submitting), on_cancel=self._stop_sending)
        if order.state == OrderState.UNKNOWN:
            order = await self.reconciler.resolve(order)
        if not order.is_resolved and order.state != OrderState.UNKNOWN:
            order = await self._follow(order, self.order_timeout_seconds, until=self.cancel_requested)
        if not order.is_resolved and order.state != OrderState.UNKNOWN:
            if self.cancel_requested.is_set():
                self.gate.close(Refused("run_stopped", CANCELLED_BY_USER))
                order = await self.cancel_and_confirm(order, "a user requested to cancel working orders")
            else:
                order = await self.cancel_and_confirm(order)
        order = await self._wait_for_fills(order)
        reached(FailPoint.ORDER_ENDED, self.account_id)
        return order

    async def resume(self, order: OrderView) -> OrderView:
        """Resolve an order that an interrupted attempt of the run has sent, and cancel it if it is still working."""
        self.updates.watch(order.client_order_id)
        order = await self.reconciler.resolve(order)
        if not order.is_resolved and order.state != OrderState.UNKNOWN:
            order = await self.cancel_and_confirm(order, "left by an interrupted run")
        return order

    async def _submit(self, number: int, submitting: "asyncio.Task[list[OrderView]]") -> OrderView:
        """Send a committed order in its turn, and store the broker's first answer."""
        order = (await submitting)[number]
        try:
            sending = await self.gate.send(self.account_id, partial(self._place, order))
        except BrokerError as error:
            await self.journal.mark_not_sent(order, f"Not sent: {error.message}")
            raise
        if sending is None:
            return await self.journal.mark_not_sent(order, self._not_sent())
        try:
            result = await sending
        except (OrderRejected, CapabilityMissing) as error:
            logger.warning("Order %s (%s) was rejected: %s", order.client_order_id, order.symbol, error.message)
            return await self.journal.mark(order, OrderState.REJECTED, error.message)
        except BrokerError as error:
            # After any other error the order may exist at the broker.
            logger.warning("Order %s (%s): status unknown: %s", order.client_order_id, order.symbol, error.message)
            return await self.journal.mark(order, OrderState.UNKNOWN, error.message)
        reached(FailPoint.SENT, self.account_id)
        order = await self.journal.apply(order, result)
        reached(FailPoint.ACKNOWLEDGED, self.account_id)
        return order

    def _place(self, order: OrderView) -> Coroutine[Any, Any, OrderResult]:
        return self.client.place_order(
            self.account_id,
            order.symbol,
            order.quantity,
            order.order_type,
            order.limit_price,
            client_order_id=order.client_order_id,
            time_in_force=order.time_in_force,
        )

    def _not_sent(self) -> str:
        return f"Not sent: {self.gate.refusal.message if self.gate.refusal else ''}".strip()

    def _stop_sending(self) -> None:
        self.gate.close(AccountChanged("The worker is stopping. Another one resumes the run."))

    async def _follow(
        self, order: OrderView, timeout_seconds: float, *, until: asyncio.Event | None = None
    ) -> OrderView:
        """Apply the order's updates until it is resolved, the time is over, or the event is set."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_seconds
        while not order.is_resolved and (left := deadline - loop.time()) > 0 and not (until and until.is_set()):
            try:
                async with asyncio.timeout(min(left, self.timings.order_silence_seconds)):
                    updates = await self._next_updates(order, until)
            except TimeoutError:
                order = await self.look_up(order)
            else:
                order = await self.journal.apply(order, *updates)
        return order

    async def _next_updates(self, order: OrderView, until: asyncio.Event | None) -> list[OrderUpdate]:
        """Wait for the order's next updates; return none once the event is set."""
        if until is None:
            return await self.updates.next_updates(order.client_order_id)
        updates = asyncio.ensure_future(self.updates.next_updates(order.client_order_id))
        ending = asyncio.ensure_future(until.wait())
        try:
            await asyncio.wait({updates, ending}, return_when=asyncio.FIRST_COMPLETED)
            return updates.result() if updates.done() else []
        finally:
            for waiting in (updates, ending):
                waiting.cancel()
            await asyncio.gather(updates, ending, return_exceptions=True)

    async def cancel_and_confirm(self, order: OrderView, reason: str = "not filled in time") -> OrderView:
        """Cancel the open part of an order and wait for confirmation. Without it, the order is `unknown`."""
        await self.journal.add_timeline_entry(
            "deadline", f"{order.symbol}: {reason}. Cancelling the open quantity.", "warning"
        )
        try:
            await self.client.cancel_order(self.account_id, order.broker_order_id)
        except (OrderExecutionError, BrokerAPIError) as error:
            logger.warning("Cancel request for %s was not accepted: %s", order.client_order_id, error.message)
        reached(FailPoint.CANCEL_REQUESTED, self.account_id)
        order = await self._follow(order, self.timings.cancel_seconds)
        if not order.is_resolved:
            order = await self.look_up(order)
        if not order.is_resolved:
            order = await self.journal.mark(
                order, OrderState.UNKNOWN, "The broker did not confirm the cancellation. The order may be open."
            )
        return order

    async def _wait_for_fills(self, order: OrderView) -> OrderView:
        """Wait for executions and commissions that arrive after the final status; then look them up."""
        if order.fills_complete or order.state == OrderState.UNKNOWN:
            return order
        try:
            async with asyncio.timeout(self.timings.fills_seconds):
                while not order.fills_complete:
                    updates = await self.updates.next_updates(order.client_order_id)
                    order = await self.journal.apply(order, *updates)
        except TimeoutError:
            order = await self.look_up(order)
        return order

    async def look_up(self, order: OrderView) -> OrderView:
        """Return the order as in the broker's records, or unchanged if the lookup fails, which proves nothing."""
        try:
            return await self.reconciler.refresh(order)
        except BrokerAPIError as error:
            logger.warning("Order %s could not be looked up: %s", order.client_order_id, error.message)
            return order
