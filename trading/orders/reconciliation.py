"""Resolve orders of unknown status from the broker's records. An order counts as lost only on proof."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal

from asgiref.sync import sync_to_async
from django.utils import timezone

from brokers.base import BrokerClient
from brokers.broker_types import Execution, OpenOrder, OrderStatus
from brokers.exceptions import ExecutionsUnavailable, ExecutionTimesUnusable
from brokers.exchange_calendar import NEW_YORK
from trading.common.concurrency import run_concurrently
from trading.errors import NeedsAttention
from trading.journal import unrecorded
from trading.journal.orders import ORDER_ID_PREFIX, OrderView
from trading.journal.run_journal import RunJournal
from trading.journal.unrecorded import Shares
from trading.models import OrderState
from trading.models.orders import ABSENT
from trading.orders.update_router import OrderUpdateRouter

logger = logging.getLogger("rebalancer.trading")

LOOKUPS = 2
"""Number of lookups without the order after which it counts as lost."""
LOOKUP_INTERVAL_SHARE = 2 / 3
"""Wait between two lookups, as a share of ORDER_SETTLE_SECONDS."""
CLOCK_TOLERANCE = timedelta(minutes=5)
"""Time before the order was sent from which executions are read: clocks differ."""


@dataclass(frozen=True)
class BrokerRecords:
    """The account's open orders, and its executions since an instant."""

    open_orders: Sequence[OpenOrder]
    executions: Sequence[Execution]

    @property
    def executed(self) -> dict[str, Shares]:
        """Symbol and executed shares of the orders whose client order id has the form of ours, by that id."""
        found: dict[str, Shares] = {}
        for execution in self.executions:
            if execution.client_order_id.startswith(ORDER_ID_PREFIX):
                _, before = found.get(execution.client_order_id, ("", Decimal(0)))
                found[execution.client_order_id] = execution.symbol, before + execution.quantity
        return found

    @property
    def orders(self) -> dict[str, Shares]:
        """The same with the open orders, which have their ordered shares."""
        return self.executed | {
            order.client_order_id: (order.symbol, order.quantity)
            for order in self.open_orders
            if order.client_order_id.startswith(ORDER_ID_PREFIX)
        }


@dataclass(frozen=True)
class Differences:
    """What the broker's records have that the rows do not."""

    unrecorded: tuple[str, ...] = ()
    """Client order ids without a row, not resolved yet."""
    found: tuple[OrderView, ...] = ()
    """Orders that were marked as lost, or as rejected because they were absent, as they are now."""


@dataclass(frozen=True)
class Lookup:
    """Result of one lookup of an order."""

    order: OrderView
    is_known: bool
    error: str = ""
    """The broker's message, if it reported an error about an order that it does not list."""


@dataclass(frozen=True)
class Reconciler:
    """Finds orders of one account in the broker's records, by client order id."""

    client: BrokerClient
    updates: OrderUpdateRouter
    journal: RunJournal
    account_id: str
    min_age_seconds: float

    async def refresh(self, order: OrderView) -> OrderView:
        """Update the order from the broker's records.

        Raises:
            BrokerError: a lookup failed, which proves nothing.
        """
        return (await self._look_up(order)).order

    async def resolve(self, order: OrderView, *, patient: bool = True) -> OrderView:
        """Find out the status of an order that may or may not have reached the broker.

        An order is marked as lost only if it is old enough, empty answers of this connection count, two separate
        lookups found it in neither open orders nor completed orders nor executions, and the position is unchanged. It
        is marked as rejected instead if the broker reported an error about it. If not `patient`, one lookup is made,
        and an order that it does not find is unchanged.

        Returns:
            The order: updated from the broker's records, `lost`, `rejected`, or still `unknown`.

        Raises:
            BrokerError: a lookup failed, which proves nothing.
        """
        interval, empty = self.min_age_seconds * LOOKUP_INTERVAL_SHARE, 0
        while True:
            lookup = await self._look_up(order)
            order = lookup.order
            if lookup.is_known or not patient:
                return order
            if order.submitted_at and _new_york_day(order.submitted_at) != _new_york_day(timezone.now()):
                finding = "Sent on an earlier day. The broker may have no records of that day."
                return await self.journal.mark(order, OrderState.UNKNOWN, finding)
            wait_seconds = await self._seconds_until_empty_counts(order)
            empty += wait_seconds <= 0
            if empty == LOOKUPS:
                break
            # Looked up in between too, because a broker that has just come back can find the order at any time.
            await asyncio.sleep(min(wait_seconds, interval) if wait_seconds > 0 else interval)
        if await self._position(order.symbol) != order.position_before:
            finding = f"Not found at the broker, but the position in {order.symbol} has changed."
            return await self.journal.mark(order, OrderState.UNKNOWN, finding)
        if lookup.error:
            return await self.journal.mark(order, OrderState.REJECTED, f"{ABSENT}{lookup.error}")
        finding = "Not found at the broker in two lookups; marked as lost."
        return await self.journal.mark(order, OrderState.LOST, finding)

    async def compare(self, since: datetime | None = None) -> Differences:
        """Compare the account's open orders and executions with the rows.

        Without `since`, the executions are those of today, and open orders alone are compared if the broker does not
        send executions. What another program is doing shows in the open orders; what it has done, in the positions.

        Orders without a row are stored, and block the account until they are resolved. Orders that were marked as lost,
        or as rejected because the broker did not have them, are updated. Both are reported. Late fills of resolved
        orders are added.

        Raises:
            BrokerError: a lookup failed, which proves nothing.
        """
        records = await self._read_records(since) if since else await self._read_records_of_today()
        known = await self._known(records)
        rows = {order.client_order_id for order in known}
        lost = [order for order in known if order.is_missing]
        executed = records.executed
        resolved = [order for order in known if order.is_resolved and order not in lost]
        late = [order for order in resolved if _has_late_fill(order, executed)]
        await run_concurrently(*(self.refresh(order) for order in late))
        refreshed = await run_concurrently(*(self.refresh(order) for order in lost))
        found = tuple(after for before, after in zip(lost, refreshed, strict=True) if _has_turned_up(before, after))
        if found:
            await self.journal.write(unrecorded.report_found, self.account_id, found)
        missing = {name: shares for name, shares in records.orders.items() if name not in rows}
        if not missing:
            return Differences(found=found)
        left = await self.journal.write(unrecorded.record_unrecorded, self.account_id, missing)
        return Differences(unrecorded=left, found=found)

    async def check_records(self) -> None:
        """Check at the end of a run that the broker has no order that the rows do not have.

        Raises:
            NeedsAttention: an order that counted as absent was found, or one without a row.
            BrokerError: a lookup failed, which proves nothing.
        """
        differences = await self.compare()
        if differences.found:
            orders = ", ".join(f"{order} ({order.client_order_id})" for order in differences.found)
            raise NeedsAttention(
                "lost_order_found",
                "The broker has orders that were marked as lost and may have been sent again, or that were marked as "
                f"rejected: {orders}. Check the positions.",
            )
        if differences.unrecorded:
            names = ", ".join(differences.unrecorded)
            raise NeedsAttention(
                "unrecorded_orders",
                f"The broker has orders of this account that this installation has no record of: {names}. "
                "Run `manage.py reconcile`.",
            )

    async def _look_up(self, order: OrderView) -> Lookup:
        """Apply the broker's records to the order."""
        since = (order.submitted_at or timezone.now()) - CLOCK_TOLERANCE
        result = await self.client.find_order(self.account_id, order.client_order_id)
        executions = await self.client.get_executions(
            self.account_id, since=since, client_order_id=order.client_order_id
        )
        for execution in executions:
            order = await self.journal.apply(order, execution)
        if result is not None and result.status is OrderStatus.ERROR and not executions:
            return Lookup(order, is_known=False, error=result.message)
        is_known = result is not None and result.status is not OrderStatus.NOT_FOUND
        if result is not None and is_known:
            order = await self.journal.apply(order, result)
        if is_known or executions:
            self.updates.record_shown_orders()
        return Lookup(order, is_known=is_known or bool(executions))

    async def _read_records(self, since: datetime) -> BrokerRecords:
        open_orders, executions = await run_concurrently(
            self.client.get_open_orders(self.account_id), self.client.get_executions(self.account_id, since=since)
        )
        return BrokerRecords(open_orders, executions)

    async def _read_records_of_today(self) -> BrokerRecords:
        try:
            return await self._read_records(start_of_day(timezone.now()))
        except (ExecutionsUnavailable, ExecutionTimesUnusable) as error:
            logger.warning("Account %s is compared by its open orders only: %s", self.account_id, error.message)
            return BrokerRecords(await self.client.get_open_orders(self.account_id), ())

    async def _known(self, records: BrokerRecords) -> list[OrderView]:
        """Return the orders of the records that have rows. One is enough to prove that the connection shows orders."""
        known = await sync_to_async(unrecorded.known_orders)(self.account_id, records.orders)
        if known:
            self.updates.record_shown_orders()
        return known

    async def _position(self, symbol: str) -> Decimal:
        snapshot = await self.client.get_account_snapshot(self.account_id)
        stocks = [position for position in snapshot.positions if position.is_us_stock and position.symbol == symbol]
        return sum((position.quantity for position in stocks), Decimal(0))

    async def _seconds_until_empty_counts(self, order: OrderView) -> float:
        """Return the seconds until a lookup that does not find the order is evidence.

        A gateway that has just connected to its broker answers with empty lists. They count once the connection has
        shown an order of today that has a row, or has been open for long enough.
        """
        # Measured by the database's clock only: a host whose clock is ahead must not treat an order as old.
        age = await self.journal.age_seconds(order)
        if not self.updates.has_shown_orders:
            await self._known(await self._read_records(start_of_day(timezone.now())))
        if self.updates.has_shown_orders:
            return self.min_age_seconds - age
        patience = max(self.min_age_seconds, self.client.capabilities.empty_answer_seconds)
        return max(patience - age, self.client.capabilities.empty_answer_seconds - self.updates.data_age_seconds)


def _has_turned_up(before: OrderView, after: OrderView) -> bool:
    return (before.state, before.filled_quantity) != (after.state, after.filled_quantity)


def _has_late_fill(order: OrderView, executed: dict[str, Shares]) -> bool:
    """Return whether the broker has executions that the row lacks, or that replace a fill entered manually."""
    _, shares = executed.get(order.client_order_id, ("", Decimal(0)))
    return abs(shares) > abs(order.filled_quantity) or (order.has_manual_fill and bool(shares))


def start_of_day(now: datetime) -> datetime:
    """Return the start of the New York day, from which brokers report executions."""
    return datetime.combine(_new_york_day(now), time(0), NEW_YORK)


def _new_york_day(instant: datetime) -> date:
    return instant.astimezone(NEW_YORK).date()
