"""Checks and preparations before the first order: guards, orders of earlier runs, open orders, changed positions."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from asgiref.sync import sync_to_async
from django.utils import timezone

from brokers.base import BrokerClient
from brokers.broker_types import OpenOrder
from brokers.exceptions import BrokerAPIError, OrderExecutionError
from trading.common.concurrency import run_concurrently
from trading.common.fail_points import FailPoint, reached
from trading.common.formats import counted
from trading.common.timings import Timings
from trading.errors import AccountChanged, NeedsAttention, RunFailed
from trading.guards.account import check_guards
from trading.guards.may_trade import enforce
from trading.guards.plan import PlanChecks
from trading.guards.trade_guard import needs_executions, window_start
from trading.journal.executions import store_executions
from trading.journal.orders import OrderView
from trading.journal.prior_state import PriorState
from trading.journal.run_journal import RunJournal
from trading.market_calendar import MarketCalendar
from trading.models import OrderState
from trading.models.run_documents import GuardResult
from trading.orders.execution import OrderPhase
from trading.planning.account_state import held_shares
from trading.planning.proposal import Proposal, placed_elsewhere
from trading.planning.run_context import RunContext

logger = logging.getLogger("rebalancer.trading")

OPEN_ORDERS_POLL_SECONDS = 0.2
"""Interval between two reads of the open orders, in seconds: brokers send no updates for orders of other clients."""


@dataclass(frozen=True)
class PreTradeSteps:
    """The checks and preparations of one run."""

    context: RunContext
    client: BrokerClient
    journal: RunJournal
    calendar: MarketCalendar
    plan_checks: PlanChecks
    phase: OrderPhase
    timings: Timings

    async def resolve_sent_orders(self, prior: PriorState) -> None:
        """Resolve every order that an interrupted attempt of the run has sent, and read its missing fills.

        Orders that earlier runs of the account left open are looked up too. The guards judge those that stay open.

        Raises:
            NeedsAttention: the status of an order of this run stays unknown.
        """
        for order in prior.orders:
            if order.state == OrderState.PLANNED:
                await self.journal.mark(order, OrderState.CANCELLED, "Never sent: the run was interrupted.")
        open_orders = [order for order in prior.orders if order.submitted_at and not order.is_resolved]
        refuse_unknown(await run_concurrently(*(self.phase.resume(order) for order in open_orders)))
        incomplete = [order for order in prior.orders if order.is_resolved and not order.fills_complete]
        await run_concurrently(*(self.phase.look_up(order) for order in incomplete))
        await run_concurrently(*(self.phase.reconciler.resolve(order) for order in prior.orphaned_orders))
        found = (await self.phase.reconciler.compare()).found  # orders without a row are judged by a guard
        own = [order for order in found if order.run_pk == self.context.pk and not order.is_resolved]
        refuse_unknown(await run_concurrently(*(self.phase.resume(order) for order in own)))
        reached(FailPoint.ORDERS_RESOLVED, self.context.account_id)

    async def check_guards(self) -> list[GuardResult]:
        """Read the account's executions if its trade guard counts them, and check the guards that need no plan.

        A preview is made without the executions if the broker does not send them; then the trade guard has failed.

        Raises:
            BrokerError: the executions cannot be read, so that no order may be sent.
        """
        failure = ""
        if needs_executions(self.context.policy.trade_guard):
            try:
                await self._store_executions()
            except BrokerAPIError as error:
                if self.context.executes:
                    raise
                failure = error.message
        results = await sync_to_async(check_guards)(
            self.context.account_pk, self.context.pk, self.context.policy, timezone.now(), self.calendar
        )
        if not failure:
            return results
        failed = GuardResult(code="trade_guard", passed=False, message=f"The executions are not known. {failure}")
        return [failed if result.code == failed.code else result for result in results]

    async def _store_executions(self) -> None:
        since = await sync_to_async(window_start)(timezone.now(), self.calendar)
        executions = await self.client.get_executions(self.context.account_id, since=since)
        await self.journal.write(store_executions, self.context.account_pk, executions, self.calendar)

    async def check_plan_and_open_orders(self, proposal: Proposal) -> tuple[list[GuardResult], Sequence[OpenOrder]]:
        """Check the plan and read the account's open orders."""
        return await run_concurrently(
            self.plan_checks.check(proposal), self.client.get_open_orders(self.context.account_id)
        )

    async def check_preview(self, proposal: Proposal) -> tuple[list[GuardResult], Proposal]:
        """Check the plan of a preview, and complete it with the open orders if the broker shows them."""

        async def with_open_orders() -> Proposal:
            try:
                return proposal.with_open_orders(await self.client.get_open_orders(self.context.account_id))
            except BrokerAPIError as error:
                return proposal.with_warning("open_orders_unavailable", error.message)

        return await run_concurrently(self.plan_checks.check(proposal), with_open_orders())

    async def check_plan_and_account(self, proposal: Proposal) -> tuple[list[GuardResult], Sequence[OpenOrder]]:
        """Check the plan and, while the broker answers, that the account is still the one that was planned for."""
        if not proposal.result.trades:
            return await self.check_plan_and_open_orders(proposal)
        loop = asyncio.get_running_loop()
        started_at = loop.time()
        plan_guards, open_orders = await run_concurrently(
            self.plan_checks.check(proposal), self.recheck_account(proposal)
        )
        if loop.time() - started_at > self.timings.recheck_age_seconds:
            open_orders = await self.recheck_account(proposal)
        return plan_guards, open_orders

    async def recheck_account(self, proposal: Proposal) -> Sequence[OpenOrder]:
        """Read positions, executions and open orders again and check the guards, right before the first order.

        Returns:
            The open orders, which must be cancelled first.

        Raises:
            AccountChanged: positions have changed since the account was read.
            Refused: a guard refuses the run.
        """
        open_orders, guards = await run_concurrently(
            self._open_orders_if_positions_unchanged(proposal), self._recheck_guards(proposal)
        )
        enforce(guards, self.context.source)
        return open_orders

    async def _recheck_guards(self, proposal: Proposal) -> list[GuardResult]:
        guards = await self.check_guards()  # it stores the executions that the trade guard counts
        return [*guards, await self.plan_checks.trade_guard(proposal)]

    async def _open_orders_if_positions_unchanged(self, proposal: Proposal) -> Sequence[OpenOrder]:
        # With open orders the positions may have changed: an order that is filled in small parts changes them as long
        # as it is open, and no plan would ever match. It is cancelled first; then everything is read again.
        open_orders = await self.client.get_open_orders(self.context.account_id)
        positions = await self.client.get_positions(self.context.account_id)
        if not open_orders and held_shares(positions) != held_shares(proposal.snapshot.positions):
            raise AccountChanged("The account's positions have changed since it was read.")
        return open_orders

    async def cancel_open_orders(self, proposal: Proposal) -> None:
        """Cancel every open order of the account and wait until none is left.

        Raises:
            RunFailed: only another program can cancel one of them, or an order is still open after the request timeout.
        """
        account_id = self.context.account_id
        if elsewhere := placed_elsewhere(proposal.open_orders):
            raise RunFailed("open_orders_remain", f"{elsewhere} Nothing was sent.")
        for order in proposal.open_orders:
            await self.journal.check_lease()
            try:
                await self.client.cancel_order(account_id, order.order_id)
            except OrderExecutionError as error:
                logger.warning("Cancel request for open order %s was not accepted: %s", order.order_id, error.message)
        reached(FailPoint.OPEN_ORDERS_CANCELLED, account_id)
        if left := await self._open_orders_left():
            symbols = ", ".join(order.symbol for order in left)
            raise RunFailed("open_orders_remain", f"Open orders could not be cancelled: {symbols}. Nothing was sent.")
        await self.journal.add_timeline_entry(
            "open_orders_cancelled", f"Cancelled {counted(len(proposal.open_orders), 'open order')}."
        )

    async def _open_orders_left(self) -> Sequence[OpenOrder]:
        left = await self.client.get_open_orders(self.context.account_id)
        try:
            async with asyncio.timeout(float(self.context.policy.request_timeout_seconds)):
                while left:
                    await asyncio.sleep(OPEN_ORDERS_POLL_SECONDS)
                    left = await self.client.get_open_orders(self.context.account_id)
        except TimeoutError:
            pass
        return left


def refuse_unknown(orders: Sequence[OrderView], not_sent: Sequence[str] = ()) -> None:
    """Check that every order is resolved.

    Args:
        orders: orders that were sent.
        not_sent: symbols of the buys that wait for these orders.

    Raises:
        NeedsAttention: names the others with their messages, and the buys that are not sent because of them.
    """
    unknown = [order for order in orders if not order.is_resolved]
    if unknown:
        details = "; ".join(f"{order.symbol} ({order.client_order_id}): {order.message}" for order in unknown)
        left = f". Buys that were not sent: {', '.join(not_sent)}." if not_sent else ""
        raise NeedsAttention(
            "orders_unknown",
            f"Order status unknown. These orders will not be resent; resolve them on the run page: {details}{left}",
        )
