"""THE STORY of a run, from top to bottom.

    guards -> targets -> replacements -> snapshot -> quotes -> plan -> [a preview stops here]
    -> open orders, positions and guards read; what is open is cancelled, and all of them are read again
    -> sells -> cash from their fills -> buys cut to it -> report

A preview and an execution share every line up to the plan. Executing an approved preview executes that plan, or
refuses. A run that is taken up again first settles what it has sent, and then plans from the books as they are.
"""

import asyncio
import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from asgiref.sync import sync_to_async
from django.conf import settings
from django.utils import timezone

from brokers.base import BaseRebalancer, BrokerClient
from brokers.broker_types import AccountSnapshot, OpenOrder, OrderType
from brokers.exchange_calendar import NEW_YORK
from calculator import (
    AllocationItem,
    CalculationRefused,
    Quote,
    Trade,
    TradeCalculationResult,
    TradeCalculator,
)
from trading.common.concurrency import run_concurrently
from trading.common.fail_points import FailPoint, reached
from trading.engine.pre_trade import PreTradeSteps, refuse_unknown
from trading.engine.report import make_report
from trading.errors import AccountChanged, NeedsAttention, Refused, RunFailed
from trading.guards.account import check_guards, enforce
from trading.guards.plan import PlanChecks
from trading.guards.trade_guard import needs_executions, window_start
from trading.journal.orders import OrderView, PlannedOrder
from trading.journal.prior_state import PriorState
from trading.journal.run_journal import RunJournal
from trading.market_calendar import MarketCalendar, never_closes
from trading.models import OrderState, RunState, RunStep
from trading.models.run_documents import GuardResult, RunWarning
from trading.orders.execution import Deadlines, OrderPhase
from trading.orders.reconciliation import Reconciler
from trading.orders.update_router import OrderUpdateRouter
from trading.planning import approved_plan
from trading.planning.account_state import account_state, held_shares
from trading.planning.inputs import PlanInputsReader
from trading.planning.proposal import Proposal
from trading.planning.quotes import tradable_quotes
from trading.planning.run_context import RunContext
from trading.planning.shared_data import SharedQuotes, SharedTargets

logger = logging.getLogger("rebalancer.trading")

CANCEL_SECONDS = 30.0
"""How long the proof of a cancel may take."""
POSITIONS_AGREE_SECONDS = 10.0
"""How long the broker's positions may take to show what was filled."""
LAST_LOOK_SECONDS = 1.0
"""A last look at the account that is older than this is taken once more before the first order."""


@dataclass(frozen=True)
class SlotResources:
    """The open connection of the slot, and what its accounts share."""

    client: BrokerClient
    desk: OrderUpdateRouter
    targets: SharedTargets
    quotes: SharedQuotes


class Rebalancer(BaseRebalancer):
    """Carries out one run of one account over an open link."""

    def __init__(
        self,
        context: RunContext,
        link: SlotResources,
        journal: RunJournal,
        calendar: MarketCalendar,
        before: PriorState,
    ) -> None:
        self._ticket = context
        self._before = before
        self._policy = context.policy
        self._client = link.client
        self._link = link
        self._journal = journal
        self._calendar = calendar
        self._calculator = TradeCalculator(context.policy.sizing)
        self._checks = PlanChecks(context, link.client, calendar, before.recently_filled)
        reconciler = Reconciler(link.client, journal, context.account_id, settings.ORDER_SETTLE_SECONDS)
        self._phase = OrderPhase(
            client=link.client,
            desk=link.desk,
            journal=journal,
            reconciler=reconciler,
            account_id=context.account_id,
            session_of=calendar.session_of,
            deadlines=Deadlines(order=float(context.policy.order_timeout_seconds), cancel=CANCEL_SECONDS),
        )
        self._sight = PlanInputsReader(context, link.client, journal, link.targets, link.quotes, before.held_symbols)
        self._loose_ends = PreTradeSteps(context, link.client, link.desk, journal, reconciler, self._phase)

    async def carry_out(self) -> None:
        """Previews or rebalances, as the run asks."""
        if self._ticket.executes:
            await self.rebalance()
        else:
            await self.calculate_rebalance()

    async def calculate_rebalance(self) -> None:
        """A preview: everything up to the plan, which is kept for a person to approve."""
        guards, proposal = await self._plan()
        plan_guards, open_orders = await self._look_beside_open_orders(proposal)
        proposal = proposal.beside(open_orders)
        await self._keep_plan(proposal, guards + plan_guards)
        await self._journal.end(
            RunState.COMPLETED,
            warnings=[warning.model_dump() for warning in proposal.warnings],
            plan_expires_at=timezone.now() + timedelta(seconds=self._policy.preview_valid_seconds),
            residual_drift=proposal.result.residual_drift_expected,
        )

    async def rebalance(self) -> None:
        """An execution: the same up to the plan, then sells, buys and the report."""
        await self._loose_ends.resolve_sent_orders(self._before)
        guards, proposal = await self._plan()
        plan_guards, open_orders = await self._look_at_plan(proposal)
        proposal = proposal.beside(open_orders)
        enforce(plan_guards, self._ticket.source)
        await self._keep_plan(proposal, guards + plan_guards)
        await self._hold_for_approval(proposal, plan_guards)
        reached(FailPoint.PLANNED, self._ticket.account_id)
        if proposal.result.trades and proposal.open_orders:
            await self._loose_ends.clear_open_orders(proposal)
            if await self._last_look(proposal):
                raise AccountChanged("An order of somebody else has come up since the account was read.")
        sells = await self._sell(proposal)
        reached(FailPoint.SELLS_DONE, self._ticket.account_id)
        buys = await self._buy(proposal, sells)
        reached(FailPoint.BUYS_DONE, self._ticket.account_id)
        await self._report(proposal, sells + buys)

    async def _look_at_plan(self, proposal: Proposal) -> tuple[list[GuardResult], list[OpenOrder]]:
        """What the guards say of the plan; the last look at the account is taken while the broker answers them."""
        if not proposal.result.trades:
            return await self._look_beside_open_orders(proposal)
        asked_at = asyncio.get_running_loop().time()
        plan_guards, open_orders = await run_concurrently(self._checks.check(proposal), self._last_look(proposal))
        if asyncio.get_running_loop().time() - asked_at > LAST_LOOK_SECONDS:
            open_orders = await self._last_look(proposal)
        return plan_guards, open_orders

    async def _look_beside_open_orders(self, proposal: Proposal) -> tuple[list[GuardResult], list[OpenOrder]]:
        return await run_concurrently(
            self._checks.check(proposal), self._client.get_open_orders(self._ticket.account_id)
        )

    async def _last_look(self, proposal: Proposal) -> list[OpenOrder]:
        """Right before the first order everything is read again, executions of others in the meantime included.

        Returns:
            The orders that have to be out of the way before it.
        """
        open_orders, guards = await run_concurrently(
            self._loose_ends.open_orders_if_nothing_has_moved(proposal), self._check_guards_of(proposal)
        )
        enforce(guards, self._ticket.source)
        return open_orders

    async def _check_guards_of(self, proposal: Proposal) -> list[GuardResult]:
        guards = await self._check_guards()  # the executions that the next one counts are read with them
        return [*guards, await self._checks.trade_guard(proposal)]

    async def _hold_for_approval(self, proposal: Proposal, guards: list[GuardResult]) -> None:
        """A plan that a person has to look at is kept for them to approve, unless its strategy's rule approves it."""
        held = next((guard for guard in guards if guard.needs_approval), None)
        if held is None:
            if rule := self._checks.approved_by_rule(proposal, guards):
                await self._journal.record_auto_approval(self._ticket.account_id, rule.message)
            return
        until = timezone.now() + timedelta(seconds=self._policy.preview_valid_seconds)
        await self._journal.record(plan_expires_at=until)
        words = f"{held.message} The plan waits for a person to approve it, until {until.astimezone(NEW_YORK):%H:%M:%S}"
        raise Refused(held.code, f"{words} New York time on the run's page; after that, preview the account anew.")

    # ---- before the plan

    async def _check_guards(self) -> list[GuardResult]:
        await self._read_executions()
        return await sync_to_async(check_guards)(
            self._ticket.account_pk, self._ticket.pk, self._policy, timezone.now(), self._calendar
        )

    async def _read_executions(self) -> None:
        """Keeps what the broker tells of; when it cannot be read, the run ends here: the door stays closed."""
        if not needs_executions(self._policy.trade_guard):
            return
        since = await sync_to_async(window_start)(timezone.now(), self._calendar)
        executions = await self._client.get_executions(self._ticket.account_id, since=since)
        await self._journal.store_executions(self._ticket.account_pk, executions, self._calendar)

    async def _plan(self) -> tuple[list[GuardResult], Proposal]:
        """What the guards say, and the plan. What it is made from is asked for while the guards are: both only look."""
        seeing = asyncio.create_task(self._sight.see(), name=f"what {self._ticket.account_id} is planned from")
        try:
            guards = await self._check_guards()
            if self._ticket.executes:
                enforce(guards, self._ticket.source)
            seen = await seeing
        finally:
            seeing.cancel()
            await asyncio.gather(seeing, return_exceptions=True)
        closed = await self._closed(seen.symbols)
        quotes, warnings = tradable_quotes(seen.symbols, seen.prices, closed, self._policy, timezone.now())
        logger.info("Quotes: %d of %d symbols can be traded on", len(quotes), len(seen.symbols))
        _, result = await run_concurrently(
            self._journal.record(RunStep.PLAN, instruments=seen.instruments),
            self._calculate(seen.targets, seen.snapshot, quotes),
        )
        warnings += [RunWarning(code=warning.code, message=warning.message) for warning in result.warnings]
        as_of = await self._link.targets.as_of(self._ticket.strategy) if self._ticket.strategy else None
        proposal = Proposal(
            result, seen.targets, as_of, seen.snapshot, tuple(quotes), tuple(warnings), prices=seen.prices
        )
        if self._ticket.approved is not None:
            sent = await self._journal.orders()
            proposal = approved_plan.match_approved(self._ticket.approved, proposal, sent, self._policy)
        return guards, proposal

    async def _closed(self, symbols: Sequence[str]) -> Collection[str]:
        """Symbols that are not traded now though the calendar is open; a rehearsal outside of all hours knows none."""
        if never_closes(self._calendar):
            return ()
        return await self._client.closed_symbols(symbols, timezone.now())

    async def _calculate(
        self, targets: Sequence[AllocationItem], snapshot: AccountSnapshot, quotes: Sequence[Quote]
    ) -> TradeCalculationResult:
        try:
            # In a thread: a large account takes milliseconds, and the others' updates must not wait.
            return await asyncio.to_thread(self._calculator.plan, account_state(snapshot), targets, quotes)
        except CalculationRefused as refusal:
            raise Refused(refusal.code, refusal.message) from refusal

    # ---- the plan

    async def _keep_plan(self, proposal: Proposal, guards: list[GuardResult]) -> None:
        trades = proposal.result.trades
        await run_concurrently(
            self._journal.record(
                guards=[guard.model_dump(mode="json") for guard in guards],
                result=proposal.result.model_dump(mode="json"),
                plan_hash=proposal.result.plan.digest,
                quotes=[quote.model_dump(mode="json") for quote in proposal.quotes],
                warnings=[warning.model_dump() for warning in proposal.warnings],
            ),
            self._journal.add_timeline_entry(
                "planned", f"Planned {len(trades)} orders." if trades else "Nothing needs trading."
            ),
        )

    # ---- the orders

    async def _sell(self, proposal: Proposal) -> list[OrderView]:
        sells = [trade for trade in proposal.result.trades if trade.quantity < 0]
        return await self._send(RunStep.SELLS, proposal, sells)

    async def _buy(self, proposal: Proposal, sells: Sequence[OrderView]) -> list[OrderView]:
        """Buys what the plan says, cut to the cash that the sells have really brought."""
        cash = sum((sell.proceeds_usd for sell in sells), proposal.snapshot.cash_usd)
        spendable = await self._checks.spendable_usd(proposal.snapshot, cash)
        buys = TradeCalculator.fit_buys(proposal.result.plan, spendable)
        if sum(buy.quantity for buy in buys) < sum(line.quantity for line in proposal.result.plan.buys):
            what = "settled cash" if spendable < cash else "cash there is"
            await self._journal.add_timeline_entry(
                "buys_reduced", f"Buys were cut to the {what} (${spendable:,.2f}).", "warning"
            )
        return await self._send(RunStep.BUYS, proposal, buys)

    async def _send(self, step: RunStep, proposal: Proposal, trades: Sequence[Trade]) -> list[OrderView]:
        if not trades:
            return []
        _, orders, _ = await run_concurrently(
            self._journal.record(step),
            self._journal.plan_orders([self._order(trade, proposal) for trade in trades]),
            self._journal.add_timeline_entry(
                str(step), f"{len(trades)} {'sell' if step == RunStep.SELLS else 'buy'} orders."
            ),
        )
        reached(FailPoint.ORDERS_COMMITTED, self._ticket.account_id)
        done = await self._phase.carry_out(orders)
        refuse_unknown(done)
        if any(order.state == OrderState.LOST for order in done):
            raise AccountChanged("An order never reached the broker.")
        return done

    def _order(self, trade: Trade, proposal: Proposal) -> PlannedOrder:
        quote = next(quote for quote in proposal.quotes if quote.symbol == trade.symbol)
        return PlannedOrder(
            symbol=trade.symbol,
            quantity=Decimal(trade.quantity),
            order_type=OrderType(trade.order_type),
            limit_price=trade.price,
            decision_price=quote.bid if trade.quantity < 0 else quote.ask,
            time_in_force=self._policy.order_tif,
            reason=trade.reason,
            position_before=held_shares(proposal.snapshot).get(trade.symbol, Decimal(0)),
        )

    # ---- the end

    async def _report(self, proposal: Proposal, orders: list[OrderView]) -> None:
        await self._journal.record(RunStep.REPORT)
        after = await self._final_snapshot(proposal.snapshot, orders)
        all_orders = await self._journal.orders()
        if orders and all(order.state == OrderState.REJECTED for order in orders):
            words = "; ".join(sorted({order.message for order in orders}))
            raise RunFailed("all_orders_rejected", f"The broker refused every order: {words}")
        # Rows that an interrupted attempt left unsent are planned anew, and no news.
        ours = {order.pk for order in orders}
        told = [order for order in all_orders if order.submitted_at or order.pk in ours]
        report, warnings = make_report(proposal.result, after, told)
        await self._journal.store_value(self._ticket.account_pk, after.total_value_usd, after.cash_usd)
        reached(FailPoint.REPORTED, self._ticket.account_id)
        await self._journal.end(
            RunState.COMPLETED,
            warnings=[warning.model_dump() for warning in (*proposal.warnings, *warnings)],
            report=report,
            total_value_usd=after.total_value_usd,
            cash_usd=after.cash_usd,
            residual_drift=Decimal(report["residual_drift_after"]),
        )

    async def _final_snapshot(self, before: AccountSnapshot, orders: Sequence[OrderView]) -> AccountSnapshot:
        """The account after the orders, once its positions show them."""
        expected = held_shares(before)
        for order in orders:
            expected[order.symbol] = expected.get(order.symbol, Decimal(0)) + order.filled_quantity
        expected = {symbol: quantity for symbol, quantity in expected.items() if quantity}
        loop = asyncio.get_running_loop()
        deadline = loop.time() + POSITIONS_AGREE_SECONDS
        while True:
            after = await self._client.get_account_snapshot(self._ticket.account_id)
            if held_shares(after) == expected:
                return after
            if loop.time() > deadline:
                raise NeedsAttention(
                    "positions_disagree",
                    "Positions at the broker do not differ by what was filled: somebody else has traded, or a fill "
                    "is missing. Look at the account, then preview it anew.",
                )
            await asyncio.sleep(0.5)  # brokers push positions late; there is nothing to wait on
