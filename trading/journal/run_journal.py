"""The journal as the engine uses it: of one run, under one lease, from inside the event loop."""

from collections.abc import Callable, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Concatenate, ParamSpec, TypeVar

from asgiref.sync import sync_to_async
from django.db.models import Q

from brokers.values import Execution, OrderResult
from trading.journal import claims, leases, orders, runs
from trading.journal.executions import keep_executions
from trading.journal.leases import Lease
from trading.journal.orders import OrderView, PlannedOrder
from trading.journal.standing import keep_value
from trading.market_calendar import MarketCalendar
from trading.models import OrderState, RebalanceRun, RunState, RunStep, TradingControl

P = ParamSpec("P")
T = TypeVar("T")


class RunJournal:
    """Writes for one run; every write fails with `LeaseLost` once another process has the slot."""

    def __init__(self, lease: Lease, run_pk: int) -> None:
        self.lease = lease
        self.run_pk = run_pk

    async def _write(self, function: Callable[Concatenate[Lease, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        # One thread for all of the engine's statements: they are short, and their order is kept.
        return await sync_to_async(function, thread_sensitive=True)(self.lease, *args, **kwargs)

    async def record(self, step: RunStep | None = None, **fields: Any) -> None:
        """Writes facts of the run."""
        await self._write(runs.record, self.run_pk, step, **fields)

    async def tell(self, code: str, message: str, level: str = "info") -> None:
        """Adds a sentence to the run's story."""
        await self._write(runs.tell, self.run_pk, code, message, level)

    async def end(self, state: RunState, **fields: Any) -> None:
        """Ends the run."""
        await self._write(runs.end_run, self.run_pk, state, **fields)

    async def defer(self, code: str, message: str, not_before: datetime) -> None:
        """Puts the run aside until an instant."""
        await self._write(runs.defer_run, self.run_pk, code=code, message=message, not_before=not_before)

    async def still_mine(self) -> None:
        """Renews the lease; to be awaited right before every effect."""
        await self._write(leases.renew_lease)

    async def orders(self) -> list[OrderView]:
        """The run's orders, oldest first."""
        return await sync_to_async(orders.orders_of)(self.run_pk)

    async def keep_executions(self, account_pk: int, executions: Sequence[Execution], calendar: MarketCalendar) -> None:
        """Keeps what the broker has told of, for the trade guard."""
        await self._write(keep_executions, account_pk, executions, calendar)

    async def stop_requested(self) -> bool:
        """Whether a person has asked to stop the run, its account, or all trading."""
        stopped = RebalanceRun.objects.filter(pk=self.run_pk).filter(
            Q(stop_requested_at__isnull=False) | Q(account__trading_paused=True)
        )
        return await stopped.aexists() or await TradingControl.objects.filter(trading_paused=True).aexists()

    async def plan_orders(self, planned: Sequence[PlannedOrder]) -> list[OrderView]:
        """Writes the orders of a phase before any of them is sent."""
        return await self._write(orders.plan_orders, self.run_pk, planned)

    async def submitting(self, order: OrderView, position_before: Decimal, session_date: date) -> OrderView:
        """The last thing before an order is sent."""
        return await self._write(orders.mark_submitting, order, position_before, session_date)

    async def apply(self, order: OrderView, *words: OrderResult | Execution) -> OrderView:
        """Brings an order to what the broker says, all of it or nothing."""
        news = [word for word in words if orders.says_something(order, word)]
        return await self._write(orders.apply_words, order.pk, news) if news else order

    async def mark(self, order: OrderView, state: OrderState, message: str) -> OrderView:
        """Moves an order to a state that the engine has found."""
        return await self._write(orders.mark_order, order.pk, state, message)

    async def value(self, account_pk: int, total_value_usd: Decimal, cash_usd: Decimal) -> None:
        """Keeps the value of the account, for its history."""
        await self._write(keep_value, account_pk, total_value_usd, cash_usd)

    async def let_go(self) -> float:
        """Leaves the run to a later lease; says for how many seconds it has waited for the broker."""
        return await self._write(claims.let_go, self.run_pk)

    async def left_behind(self, account_pk: int) -> list[OrderView]:
        """Orders of the account's other runs that may be alive."""
        return await sync_to_async(orders.left_behind)(account_pk, self.run_pk)

    async def age_seconds(self, order: OrderView) -> float:
        """How long ago the order was sent, by the database's clock."""
        return await sync_to_async(orders.age_seconds)(order.pk)
