"""What became of an order whose fate is not known: the broker's records decide, and absence has to be proven."""

import asyncio
import logging
from datetime import date, datetime, timedelta
from decimal import Decimal

from django.utils import timezone

from brokers.base import BrokerClient
from brokers.broker_types import OrderStatus
from brokers.exchange_calendar import NEW_YORK
from trading.journal.orders import OrderView
from trading.journal.run_journal import RunJournal
from trading.models import OrderState

logger = logging.getLogger("rebalancer.trading")

SECOND_LOOK_SHARE = 2 / 3  # the second look comes so much of the settle time after the first
EXECUTIONS_SINCE = timedelta(minutes=5)  # before the order was sent: clocks differ


class Reconciler:
    """Finds orders of one account in the broker's records, by client order id."""

    def __init__(self, client: BrokerClient, journal: RunJournal, account_id: str, settle_seconds: float) -> None:
        self._client = client
        self._journal = journal
        self._account_id = account_id
        self._settle_seconds = settle_seconds

    async def refresh(self, order: OrderView) -> OrderView:
        """Brings the order to what the broker's records say now.

        Raises:
            BrokerError: a look-up failed, which proves nothing.
        """
        return (await self._look(order))[0]

    async def settle(self, order: OrderView) -> OrderView:
        """Finds out what became of an order that may or may not have reached the broker.

        An order counts as lost only when it is old enough, and two looks, apart, found it in none of open orders,
        completed orders and executions, with the position as it was.

        Returns:
            The order: adopted as the broker has it, `lost`, or still `unknown`.
        """
        order, found = await self._look(order)
        if found:
            return order
        await asyncio.sleep(await self._seconds_until_settled(order))
        for wait_seconds in (0.0, self._settle_seconds * SECOND_LOOK_SHARE):
            await asyncio.sleep(wait_seconds)
            order, found = await self._look(order)
            if found:
                return order
        if order.submitted_at and _new_york_day(order.submitted_at) != _new_york_day(timezone.now()):
            return await self._journal.mark(
                order,
                OrderState.UNKNOWN,
                "It was sent on an earlier day, of which the broker may keep no records.",
            )
        if await self._position(order.symbol) != order.position_before:
            return await self._journal.mark(
                order,
                OrderState.UNKNOWN,
                f"No record of the order, but the position in {order.symbol} has changed.",
            )
        return await self._journal.mark(
            order, OrderState.LOST, "The broker has no record of it, twice: it never arrived."
        )

    async def _look(self, order: OrderView) -> tuple[OrderView, bool]:
        since = (order.submitted_at or timezone.now()) - EXECUTIONS_SINCE
        result = await self._client.find_order(self._account_id, order.client_order_id)
        executions = await self._client.get_executions(
            self._account_id, since=since, client_order_id=order.client_order_id
        )
        for execution in executions:
            order = await self._journal.apply(order, execution)
        if result is not None and result.status is not OrderStatus.NOT_FOUND:
            order = await self._journal.apply(order, result)
            return order, True
        return order, bool(executions)

    async def _position(self, symbol: str) -> Decimal:
        snapshot = await self._client.get_account_snapshot(self._account_id)
        return sum(
            (
                position.quantity
                for position in snapshot.positions
                if position.is_us_stock and position.symbol == symbol
            ),
            Decimal(0),
        )

    async def _seconds_until_settled(self, order: OrderView) -> float:
        # By one clock, the database's: a host whose clock is ahead must not call an order old.
        return max(0.0, self._settle_seconds - await self._journal.age_seconds(order))


def _new_york_day(instant: datetime) -> date:
    return instant.astimezone(NEW_YORK).date()
