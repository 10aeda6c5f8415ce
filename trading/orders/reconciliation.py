"""Resolve orders of unknown status from the broker's records. An order counts as lost only on proof."""

import asyncio
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal

from django.utils import timezone

from brokers.base import BrokerClient
from brokers.broker_types import OrderStatus
from brokers.exchange_calendar import NEW_YORK
from trading.journal.orders import OrderView
from trading.journal.run_journal import RunJournal
from trading.models import OrderState

SECOND_LOOKUP_SHARE = 2 / 3
"""Wait between the two lookups, as a share of ORDER_SETTLE_SECONDS."""
CLOCK_TOLERANCE = timedelta(minutes=5)
"""Time before the order was sent from which executions are read: clocks differ."""


@dataclass(frozen=True)
class Reconciler:
    """Finds orders of one account in the broker's records, by client order id."""

    client: BrokerClient
    journal: RunJournal
    account_id: str
    min_age_seconds: float

    async def refresh(self, order: OrderView) -> OrderView:
        """Update the order from the broker's records.

        Raises:
            BrokerError: a lookup failed, which proves nothing.
        """
        return (await self._look_up(order))[0]

    async def resolve(self, order: OrderView) -> OrderView:
        """Find out the status of an order that may or may not have reached the broker.

        An order is marked as lost only if it is old enough, two separate lookups found it in neither open orders nor
        completed orders nor executions, and the position has not changed.

        Returns:
            The order: updated from the broker's records, `lost`, or still `unknown`.

        Raises:
            BrokerError: a lookup failed, which proves nothing.
        """
        order, found = await self._look_up(order)
        if found:
            return order
        await asyncio.sleep(await self._seconds_until_old_enough(order))
        for wait_seconds in (0.0, self.min_age_seconds * SECOND_LOOKUP_SHARE):
            await asyncio.sleep(wait_seconds)
            order, found = await self._look_up(order)
            if found:
                return order
        state, finding = OrderState.UNKNOWN, "Sent on an earlier day. The broker may have no records of that day."
        if not order.submitted_at or _new_york_day(order.submitted_at) == _new_york_day(timezone.now()):
            finding = f"Not found at the broker, but the position in {order.symbol} has changed."
            if await self._position(order.symbol) == order.position_before:
                state, finding = OrderState.LOST, "Not found at the broker in two lookups; marked as lost."
        return await self.journal.mark(order, state, finding)

    async def _look_up(self, order: OrderView) -> tuple[OrderView, bool]:
        """Apply the broker's records to the order. Return it, and whether the broker knows it."""
        since = (order.submitted_at or timezone.now()) - CLOCK_TOLERANCE
        result = await self.client.find_order(self.account_id, order.client_order_id)
        executions = await self.client.get_executions(
            self.account_id, since=since, client_order_id=order.client_order_id
        )
        for execution in executions:
            order = await self.journal.apply(order, execution)
        if result is not None and result.status is not OrderStatus.NOT_FOUND:
            order = await self.journal.apply(order, result)
            return order, True
        return order, bool(executions)

    async def _position(self, symbol: str) -> Decimal:
        snapshot = await self.client.get_account_snapshot(self.account_id)
        stocks = [position for position in snapshot.positions if position.is_us_stock and position.symbol == symbol]
        return sum((position.quantity for position in stocks), Decimal(0))

    async def _seconds_until_old_enough(self, order: OrderView) -> float:
        # Measured by the database's clock only: a host whose clock is ahead must not treat an order as old.
        return max(0.0, self.min_age_seconds - await self.journal.age_seconds(order))


def _new_york_day(instant: datetime) -> date:
    return instant.astimezone(NEW_YORK).date()
