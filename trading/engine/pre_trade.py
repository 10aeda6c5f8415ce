"""What has to be out of the way before the first order: orders left behind, open ones, positions that have moved."""

import asyncio
import logging
from collections.abc import Sequence

from brokers.base import BrokerClient
from brokers.broker_types import OpenOrder
from brokers.exceptions import OrderExecutionError
from trading.common.concurrency import run_concurrently
from trading.common.fail_points import FailPoint, reached
from trading.errors import AccountChanged, NeedsAttention, RunFailed
from trading.journal.orders import OrderView
from trading.journal.prior_state import PriorState
from trading.journal.run_journal import RunJournal
from trading.models import OrderState
from trading.orders.execution import OrderPhase
from trading.orders.reconciliation import Reconciler
from trading.orders.update_router import OrderUpdateRouter
from trading.planning.account_state import held_shares, shares_of
from trading.planning.proposal import Proposal
from trading.planning.run_context import RunContext

logger = logging.getLogger("rebalancer.trading")


class PreTradeSteps:
    """The loose ends of one run's account."""

    def __init__(
        self,
        context: RunContext,
        client: BrokerClient,
        desk: OrderUpdateRouter,
        journal: RunJournal,
        reconciler: Reconciler,
        phase: OrderPhase,
    ) -> None:
        self._ticket = context
        self._client = client
        self._desk = desk
        self._journal = journal
        self._reconciler = reconciler
        self._phase = phase

    async def resolve_sent_orders(self, before: PriorState) -> None:
        """After a crash or a dropped link: every order of the run is brought to its end before anything else.

        Of those that have ended, fills and commissions that were not told any more are asked for.
        Orders that earlier runs of the account have left behind are looked for too; the guards judge what is left.
        """
        for order in before.orders:
            if order.state == OrderState.PLANNED:
                await self._journal.mark(order, OrderState.CANCELLED, "Never sent: the run was interrupted.")
        unsettled = [order for order in before.orders if order.submitted_at and not order.is_resolved]
        refuse_unknown(await run_concurrently(*(self._settle(order) for order in unsettled)))
        incomplete = [order for order in before.orders if order.is_resolved and not order.fills_complete]
        await run_concurrently(*(self._phase.asked(order) for order in incomplete))
        await run_concurrently(*(self._reconciler.settle(order) for order in before.orphaned_orders))
        reached(FailPoint.ORDERS_RESOLVED, self._ticket.account_id)

    async def _settle(self, order: OrderView) -> OrderView:
        self._desk.watch(order.client_order_id)
        settled = await self._reconciler.settle(order)
        if not settled.is_resolved and settled.state != OrderState.UNKNOWN:
            settled = await self._phase.cancel_and_confirm(settled, "left by an interrupted run")
        return settled

    async def clear_open_orders(self, proposal: Proposal) -> None:
        """Cancels every open order of the account and waits until none is left."""
        if not proposal.open_orders:
            return
        account_id = self._ticket.account_id
        for order in proposal.open_orders:
            await self._journal.check_lease()
            try:
                await self._client.cancel_order(account_id, order.order_id)
            except OrderExecutionError as error:
                logger.warning("Cancel of open order %s was not taken: %s", order.order_id, error.message)
        reached(FailPoint.OPEN_ORDERS_CANCELLED, account_id)
        if left := await self._open_orders_left():
            symbols = ", ".join(order.symbol for order in left)
            raise RunFailed("open_orders_remain", f"Open orders could not be cancelled: {symbols}. Nothing was sent.")
        await self._journal.add_timeline_entry(
            "open_orders_cancelled", f"Cancelled {len(proposal.open_orders)} open orders."
        )

    async def _open_orders_left(self) -> list[OpenOrder]:
        left = await self._client.get_open_orders(self._ticket.account_id)
        try:
            async with asyncio.timeout(float(self._ticket.policy.request_timeout_seconds)):
                while left:
                    await asyncio.sleep(0.2)  # orders of others push nothing to us
                    left = await self._client.get_open_orders(self._ticket.account_id)
        except TimeoutError:
            pass
        return left

    async def open_orders_if_nothing_has_moved(self, proposal: Proposal) -> list[OpenOrder]:
        """The open orders; then positions are read again: what was traded since the snapshot must not be sold twice.

        Beside open orders they may have moved: one that is filled bit by bit moves them for as long as it is open, and
        every plan would come too late. It is cancelled first; then everything is read once more.

        Raises:
            AccountChanged: positions have changed since the account was read, and no order is open.
        """
        open_orders = await self._client.get_open_orders(self._ticket.account_id)
        now = await self._client.get_positions(self._ticket.account_id)
        if not open_orders and shares_of(now) != held_shares(proposal.snapshot):
            raise AccountChanged("The account's positions have changed since it was read.")
        return list(open_orders)


def refuse_unknown(orders: Sequence[OrderView]) -> None:
    """Leaves the run to a person where the fate of an order is not known.

    Raises:
        NeedsAttention: with the orders and what is known of them.
    """
    unknown = [order for order in orders if not order.is_resolved]
    if unknown:
        words = "; ".join(f"{order.symbol} ({order.client_order_id}): {order.message}" for order in unknown)
        raise NeedsAttention(
            "orders_unknown", f"The fate of these orders is not known, and they are never sent again: {words}"
        )
