"""The journal as the engine uses it: of one run, under one lease, from inside the event loop."""

from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from asgiref.sync import sync_to_async
from django.db.models import Exists, Q

from brokers.broker_types import Execution
from trading.common.fail_points import FailPoint, reached
from trading.journal import claims, order_updates, orders, runs
from trading.journal.account_status import store_value
from trading.journal.batch_writer import BatchWriter
from trading.journal.executions import store_executions
from trading.journal.order_updates import OrderUpdate
from trading.journal.orders import OrderView, PlannedOrder
from trading.journal.prior_state import PriorState, read_prior_state
from trading.market_calendar import MarketCalendar
from trading.models import OrderState, RebalanceRun, RunState, RunStep, TradingControl


class RunJournal:
    """Writes for one run; every write fails with `LeaseLost` once another process has the slot."""

    def __init__(self, scribe: BatchWriter, run_pk: int) -> None:
        self._scribe = scribe
        self.run_pk = run_pk

    async def record(self, step: RunStep | None = None, **fields: Any) -> None:
        """Writes facts of the run."""
        await self._scribe.write(runs.record, self.run_pk, step, **fields)

    async def add_timeline_entry(self, code: str, message: str, level: str = "info") -> None:
        """Adds a sentence to the run's story."""
        await self._scribe.write(runs.add_timeline_entry, self.run_pk, code, message, level)

    async def record_auto_approval(self, account_id: str, message: str) -> None:
        """Writes that the plan was approved by a rule and no person."""
        await self._scribe.write(runs.record_auto_approval, self.run_pk, account_id, message)

    async def end(self, state: RunState, **fields: Any) -> None:
        """Ends the run."""
        await self._scribe.write(runs.end_run, self.run_pk, state, **fields)

    async def defer(self, code: str, message: str, not_before: datetime) -> None:
        """Puts the run aside until an instant."""
        await self._scribe.write(runs.defer_run, self.run_pk, code=code, message=message, not_before=not_before)

    async def check_lease(self) -> None:
        """Makes sure that the slot is ours; to be awaited right before every effect."""
        await self._scribe.check_lease()

    async def orders(self) -> list[OrderView]:
        """The run's orders, oldest first."""
        return await sync_to_async(orders.orders_of)(self.run_pk)

    async def store_executions(
        self, account_pk: int, executions: Sequence[Execution], calendar: MarketCalendar
    ) -> None:
        """Keeps what the broker has told of, for the trade guard."""
        await self._scribe.write(store_executions, account_pk, executions, calendar)

    async def stop_requested(self) -> bool:
        """Whether a person has asked to stop the run, its account, or all trading."""
        everywhere = Exists(TradingControl.objects.filter(trading_paused=True))
        stopped = Q(stop_requested_at__isnull=False) | Q(account__trading_paused=True) | everywhere
        return await RebalanceRun.objects.filter(stopped, pk=self.run_pk).aexists()

    async def plan_orders(self, planned: Sequence[PlannedOrder]) -> list[OrderView]:
        """Writes the orders of a phase before any of them is sent."""
        return await self._scribe.write(orders.plan_orders, self.run_pk, planned)

    async def mark_submitting(self, planned: Sequence[OrderView], session_date: date) -> list[OrderView]:
        """The last thing before orders are sent: all of them are committed as such, or none."""
        submitting = await self._scribe.write(orders.mark_submitting, planned, session_date)
        # In the thread of the statements: a process that is stopped here has no transaction open.
        await sync_to_async(reached)(FailPoint.SUBMITTING_COMMITTED)
        return submitting

    async def apply(self, order: OrderView, *said: OrderUpdate) -> OrderView:
        """Brings an order to what the broker says, all of it or nothing."""
        news = [word for word in said if order_updates.changes_order(order, word)]
        return await self._scribe.words(order.pk, news) if news else order

    async def mark(self, order: OrderView, state: OrderState, message: str) -> OrderView:
        """Moves an order to a state that the engine has found."""
        return await self._scribe.write(order_updates.mark_order, order.pk, state, message)

    async def store_value(self, account_pk: int, total_value_usd: Decimal, cash_usd: Decimal) -> None:
        """Keeps the value of the account, for its history."""
        await self._scribe.write(store_value, account_pk, total_value_usd, cash_usd)

    async def release(self) -> float:
        """Leaves the run to a later lease; says for how many seconds it has waited for the broker."""
        return await self._scribe.write(claims.release_run, self.run_pk)

    async def read_prior_state(self, account_pk: int) -> PriorState:
        """What the rows say of the account before the broker is asked."""
        return await sync_to_async(read_prior_state)(self.run_pk, account_pk)

    async def age_seconds(self, order: OrderView) -> float:
        """How long ago the order was sent, by the database's clock."""
        return await sync_to_async(orders.age_seconds)(order.pk)
