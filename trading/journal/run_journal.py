"""The journal as the engine uses it: for one run, under one lease, inside the event loop."""

from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from asgiref.sync import sync_to_async
from django.db.models import Exists, Q

from brokers.broker_types import Execution, OrderUpdate
from trading.common.fail_points import FailPoint, reached
from trading.journal import claims, order_updates, orders, runs
from trading.journal.account_status import store_value
from trading.journal.batch_writer import BatchWriter
from trading.journal.executions import store_executions
from trading.journal.orders import OrderView, PlannedOrder
from trading.journal.prior_state import PriorState, read_prior_state
from trading.market_calendar import MarketCalendar
from trading.models import OrderState, RebalanceRun, RunState, RunStep, TradingControl


class RunJournal:
    """Writes for one run; every write fails with `LeaseLost` once another process has the slot."""

    def __init__(self, writer: BatchWriter, run_pk: int) -> None:
        self._writer = writer
        self.run_pk = run_pk

    async def record(self, step: RunStep | None = None, **fields: Any) -> None:
        """Write fields of the run, and its step."""
        await self._writer.write(runs.record, self.run_pk, step, **fields)

    async def add_timeline_entry(self, code: str, message: str, level: str = "info") -> None:
        """Add an entry to the run's timeline."""
        await self._writer.write(runs.add_timeline_entry, self.run_pk, code, message, level)

    async def record_auto_approval(self, account_id: str, message: str) -> None:
        """Record that a rule, not a user, approved the plan."""
        await self._writer.write(runs.record_auto_approval, self.run_pk, account_id, message)

    async def end(self, state: RunState, **fields: Any) -> None:
        """End the run."""
        await self._writer.write(runs.end_run, self.run_pk, state, **fields)

    async def defer(self, code: str, message: str, not_before: datetime) -> None:
        """Defer the run until an instant."""
        await self._writer.write(runs.defer_run, self.run_pk, code=code, message=message, not_before=not_before)

    async def check_lease(self) -> None:
        """Confirm that the lease is still valid; await this right before every effect."""
        await self._writer.check_lease()

    async def orders(self) -> list[OrderView]:
        """Return the run's orders, oldest first."""
        return await sync_to_async(orders.orders_of)(self.run_pk)

    async def store_executions(
        self, account_pk: int, executions: Sequence[Execution], calendar: MarketCalendar
    ) -> None:
        """Store executions that the broker reported, for the trade guard."""
        await self._writer.write(store_executions, account_pk, executions, calendar)

    async def stop_requested(self) -> bool:
        """Return whether a user has stopped the run, its account, or all trading."""
        all_trading = Exists(TradingControl.objects.filter(trading_paused=True))
        stopped = Q(stop_requested_at__isnull=False) | Q(account__trading_paused=True) | all_trading
        return await RebalanceRun.objects.filter(stopped, pk=self.run_pk).aexists()

    async def plan_orders(self, planned: Sequence[PlannedOrder]) -> list[OrderView]:
        """Write the orders of a phase before any of them is sent."""
        return await self._writer.write(orders.plan_orders, self.run_pk, planned)

    async def mark_submitting(self, planned: Sequence[OrderView], session_date: date) -> list[OrderView]:
        """Mark the orders as submitting, all or none; await this right before they are sent."""
        submitting = await self._writer.write(orders.mark_submitting, planned, session_date)
        # In the database thread: a process that is stopped here has no open transaction.
        await sync_to_async(reached)(FailPoint.SUBMITTING_COMMITTED)
        return submitting

    async def apply(self, order: OrderView, *updates: OrderUpdate) -> OrderView:
        """Apply all of the broker's updates to an order, or none; updates that change nothing cost no write."""
        news = [update for update in updates if order_updates.changes_order(order, update)]
        return await self._writer.apply_updates(order.pk, news) if news else order

    async def mark(self, order: OrderView, state: OrderState, message: str) -> OrderView:
        """Move an order to a state that the engine has determined, with the reason."""
        return await self._writer.write(order_updates.mark_order, order.pk, state, message)

    async def store_value(self, account_pk: int, total_value_usd: Decimal, cash_usd: Decimal) -> None:
        """Store the account's total value and cash, in US dollars."""
        await self._writer.write(store_value, account_pk, total_value_usd, cash_usd)

    async def release(self) -> float:
        """Release the run to a later lease; return for how many seconds it has waited for the broker."""
        return await self._writer.write(claims.release_run, self.run_pk)

    async def read_prior_state(self, account_pk: int) -> PriorState:
        """Return what is known of the account before the broker is queried."""
        return await sync_to_async(read_prior_state)(self.run_pk, account_pk)

    async def age_seconds(self, order: OrderView) -> float:
        """Return the seconds since the order was sent, by the database's clock."""
        return await sync_to_async(orders.age_seconds)(order.pk)
