"""Carry out one run, top to bottom.

    guards -> targets -> replacements -> account snapshot -> quotes -> plan
    -> plan checks [a preview ends here]
    -> open orders are cancelled, and the account is checked again
    -> sells -> buys, reduced to the cash of the filled sells -> report

A preview and an execution share every step up to the plan. The execution of an approved preview executes that plan or
is refused. A resumed run first resolves the orders that it has sent, and then plans from the account as it is now.
"""

import asyncio
import logging
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal

from asgiref.sync import sync_to_async
from django.conf import settings
from django.utils import timezone

from brokers.base import BaseRebalancer
from brokers.broker_types import AccountSnapshot
from calculator import CalculationRefused, Quote, Trade, TradeCalculationResult, TradeCalculator
from calculator.formats import money
from trading.common.concurrency import run_concurrently
from trading.common.fail_points import FailPoint, reached
from trading.common.formats import counted, new_york_time
from trading.common.timings import Timings
from trading.engine.cash_after_sells import cash_after_sells
from trading.engine.connection import SlotResources
from trading.engine.pre_trade import PreTradeSteps, refuse_unknown
from trading.engine.report import make_report, snapshot_after, trades_left
from trading.errors import AccountChanged, Refused, RunFailed
from trading.guards.may_trade import check_order, enforce
from trading.guards.plan import PlanChecks
from trading.journal.account_status import store_value
from trading.journal.orders import OrderView
from trading.journal.prior_state import PriorState
from trading.journal.run_journal import RunJournal
from trading.market_calendar import MarketCalendar
from trading.models import OrderState, RunState, RunStep
from trading.models.run_documents import GuardResult, RunWarning
from trading.orders.execution import OrderPhase
from trading.orders.gate import OrderGate
from trading.orders.reconciliation import Reconciler
from trading.planning.account_state import account_state, account_warnings
from trading.planning.approved_plan import can_be_approved, describe_changed_orders, match_approved
from trading.planning.inputs import PlanInputs, PlanInputsReader
from trading.planning.proposal import Proposal
from trading.planning.quotes import tradable_quotes
from trading.planning.refusals import explain_refusal
from trading.planning.run_context import RunContext
from trading.planning.standing_updates import store_look, store_planned_run

logger = logging.getLogger("rebalancer.trading")

TRADES_NAMED = 10
"""Maximum number of trades that a message names."""


class Rebalancer(BaseRebalancer):
    """Carries out one run of one account over an open connection."""

    def __init__(
        self,
        context: RunContext,
        resources: SlotResources,
        journal: RunJournal,
        calendar: MarketCalendar,
        prior: PriorState,
        timings: Timings,
        cancel_requested: asyncio.Event,
    ) -> None:
        client, account_id, policy = resources.client, context.account_id, context.policy
        self._context = context
        self._policy = policy
        self._prior = prior
        self._looks: list[AccountSnapshot] = []
        self._client = client
        self._journal = journal
        self._timings = timings
        self._calculator = TradeCalculator(policy.sizing)
        self._plan_checks = PlanChecks(context, client, calendar, prior.recently_filled)
        self._calendar = calendar
        has_sent = context.has_sent or any(order.submitted_at for order in prior.orders)
        self._gate = OrderGate(client, resources.turn, journal, self._check_order, has_sent=has_sent)
        self._phase = OrderPhase(
            client=client,
            updates=resources.updates,
            journal=journal,
            gate=self._gate,
            reconciler=Reconciler(client, resources.updates, journal, account_id, settings.ORDER_SETTLE_SECONDS),
            account_id=account_id,
            session_of=calendar.session_of,
            order_timeout_seconds=float(policy.order_timeout_seconds),
            timings=timings,
            cancel_requested=cancel_requested,
        )
        self._inputs = PlanInputsReader(
            context=context,
            client=client,
            journal=journal,
            calendar=calendar,
            targets=resources.targets,
            quotes=resources.quotes,
            previously_held=prior.held_symbols,
            account_age_seconds=timings.account_age_seconds,
            looks=self._looks,
        )
        self._pre_trade = PreTradeSteps(
            context=context,
            client=client,
            journal=journal,
            calendar=calendar,
            plan_checks=self._plan_checks,
            phase=self._phase,
            timings=timings,
        )

    async def run(self) -> None:
        """Preview or rebalance, by the run's mode. At its end, store how the account stands."""
        try:
            if self._context.executes:
                await self.rebalance()
            else:
                await self.calculate_rebalance()
        except Exception:
            await self._store_standing(has_plan=False)
            raise
        await self._store_standing(has_plan=True)

    async def calculate_rebalance(self) -> None:
        """Preview: make the plan and store it for approval. Moves money: no."""
        guards, proposal = await self._plan()
        plan_guards, proposal = await self._pre_trade.check_preview(proposal)
        now = timezone.now()
        closes_at = self._calendar.session_of(now).closes_at
        waits = can_be_approved(proposal, guards + plan_guards, closes_at, is_late=self._context.is_late)
        await self._store_plan(proposal, guards + plan_guards)
        await self._journal.end(
            RunState.COMPLETED,
            warnings=[warning.model_dump() for warning in proposal.warnings],
            plan_expires_at=now + timedelta(seconds=self._policy.preview_valid_seconds),
            approval_until=closes_at if waits else None,
            residual_drift=proposal.result.residual_drift_expected,
        )

    async def rebalance(self) -> None:
        """Execute: make the plan, check it, sell, buy and report. Moves money: yes."""
        await self._pre_trade.resolve_sent_orders(self._prior)
        guards, proposal = await self._plan()
        plan_guards, open_orders = await self._pre_trade.check_plan_and_account(proposal)
        proposal = proposal.with_open_orders(open_orders)
        enforce(plan_guards, self._context.source)
        await self._store_plan(proposal, guards + plan_guards)
        await self._hold_for_approval(proposal, plan_guards)
        if self._context.approved is not None and proposal.result.plan.plan_hash != self._context.approved.plan_hash:
            changes = describe_changed_orders(self._context.approved, proposal.result)
            await self._journal.record_replanned_approval(changes)
        reached(FailPoint.PLANNED, self._context.account_id)
        trades = proposal.result.trades
        if trades and proposal.open_orders:
            await self._pre_trade.cancel_open_orders(proposal)
            if await self._pre_trade.recheck_account(proposal):
                raise AccountChanged("Another client placed an order after the account was read.")
        sells = await self._send(RunStep.SELLS, proposal, [trade for trade in trades if trade.quantity < 0])
        reached(FailPoint.SELLS_DONE, self._context.account_id)
        buys = await self._buy(proposal, sells) if self._gate.refusal is None else []
        reached(FailPoint.BUYS_DONE, self._context.account_id)
        await self._report(proposal, sells + buys)

    # ---- the plan

    async def _plan(self) -> tuple[list[GuardResult], Proposal]:
        """Check the guards and make the plan. Its inputs are read while the guards are checked: both only read."""
        reading = asyncio.create_task(self._inputs.read(), name=f"plan inputs of {self._context.account_id}")
        try:
            guards = await self._pre_trade.check_guards()
            if self._context.executes:
                enforce(guards, self._context.source)
            inputs = await reading
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
        quotes, warnings = tradable_quotes(inputs.symbols, inputs.prices, inputs.closed, self._policy, timezone.now())
        warnings += account_warnings(inputs.snapshot)
        logger.info("Quotes: %d of %d symbols can be traded", len(quotes), len(inputs.symbols))
        _, result = await run_concurrently(
            self._journal.record(RunStep.PLAN, instruments=inputs.instruments),
            self._calculate(inputs, quotes, warnings),
        )
        warnings += [RunWarning(code=warning.code, message=warning.message) for warning in result.warnings]
        published = inputs.published
        proposal = Proposal(
            result,
            inputs.targets,
            published.as_of,
            inputs.snapshot,
            tuple(quotes),
            (*published.warnings, *warnings),
            prices=inputs.prices,
        )
        if self._context.approved is not None:
            sent = await self._journal.orders()
            proposal = match_approved(self._context.approved, proposal, sent, self._policy, timezone.now())
        return guards, proposal

    async def _calculate(
        self, inputs: PlanInputs, quotes: Sequence[Quote], warnings: Sequence[RunWarning]
    ) -> TradeCalculationResult:
        account = account_state(inputs.snapshot, inputs.prices)
        try:
            # In a thread: a large account takes milliseconds, in which the order updates of others must not wait.
            return await asyncio.to_thread(self._calculator.plan, account, inputs.targets, quotes)
        except CalculationRefused as refusal:
            raise explain_refusal(refusal, warnings, inputs.snapshot) from refusal

    async def _store_plan(self, proposal: Proposal, guards: list[GuardResult]) -> None:
        trades = proposal.result.trades
        await run_concurrently(
            self._journal.record(
                guards=[guard.model_dump(mode="json") for guard in guards],
                result=proposal.result.model_dump(mode="json"),
                plan_hash=proposal.result.plan.plan_hash,
                quotes=[quote.model_dump(mode="json") for quote in proposal.quotes],
                warnings=[warning.model_dump() for warning in proposal.warnings],
            ),
            self._journal.add_timeline_entry(
                "planned", f"Planned {counted(len(trades), 'order')}." if trades else "No trades are needed."
            ),
        )

    async def _hold_for_approval(self, proposal: Proposal, guards: list[GuardResult]) -> None:
        """Refuse a plan that needs a user's approval, and let it wait for that, unless its strategy approves it."""
        failed = next((guard for guard in guards if guard.needs_approval), None)
        if failed is None:
            if rule := self._plan_checks.approved_by_rule(proposal, guards):
                await self._journal.record_auto_approval(self._context.account_id, rule.message)
            return
        now = timezone.now()
        until = self._calendar.session_of(now).closes_at
        await self._journal.record(
            plan_expires_at=now + timedelta(seconds=self._policy.preview_valid_seconds), approval_until=until
        )
        raise Refused(
            failed.code,
            f"{failed.message} The plan was held for approval until {new_york_time(until)}, the session's close.",
        )

    # ---- the orders

    async def _check_order(self, has_sent: bool) -> None:  # noqa: FBT001 - the gate's callback
        """Check whether an order may leave now."""
        now = timezone.now()
        session = self._calendar.session_of(now)
        await sync_to_async(check_order)(self._context, session, now, has_sent=has_sent)

    async def _buy(self, proposal: Proposal, sells: Sequence[OrderView]) -> list[OrderView]:
        """Send the plan's buys, reduced to the cash that the filled sells have brought and that is really there."""
        if not proposal.result.plan.buys:
            return []
        account, cash = await cash_after_sells(
            self._client, self._context.account_id, proposal.snapshot, sells, self._timings.cash_seconds
        )
        spendable = await self._plan_checks.spendable_usd(account, cash)
        buys = TradeCalculator.fit_buys(proposal.result.plan, spendable)
        if sum(buy.quantity for buy in buys) < sum(line.quantity for line in proposal.result.plan.buys):
            limit = "settled cash" if spendable < cash else "available cash"
            await self._journal.add_timeline_entry(
                "buys_reduced", f"Buys reduced to the {limit} ({money(spendable)}).", "warning"
            )
        return await self._send(RunStep.BUYS, proposal, buys)

    async def _send(self, step: RunStep, proposal: Proposal, trades: Sequence[Trade]) -> list[OrderView]:
        """Commit the orders, send them and wait until each is resolved."""
        if not trades:
            return []
        side = "sell" if step == RunStep.SELLS else "buy"
        _, orders, _ = await run_concurrently(
            self._journal.record(step),
            self._journal.plan_orders([proposal.order_for(trade, self._policy.order_tif) for trade in trades]),
            self._journal.add_timeline_entry(str(step), f"{counted(len(trades), f'{side} order')}."),
        )
        reached(FailPoint.ORDERS_COMMITTED, self._context.account_id)
        resolved = await self._phase.execute(orders)
        waiting = proposal.result.plan.buys if step == RunStep.SELLS else ()
        refuse_unknown(resolved, [buy.symbol for buy in waiting])
        if any(order.state == OrderState.LOST for order in resolved):
            raise AccountChanged("An order did not reach the broker.")
        if self._gate.refusal is not None and not self._gate.has_sent:
            raise self._gate.refusal  # nothing was sent: the run is refused, deferred, or planned again
        return resolved

    # ---- the report

    async def _report(self, proposal: Proposal, orders: list[OrderView]) -> None:
        await self._journal.record(RunStep.REPORT)
        if orders:
            await self._phase.reconciler.check_records()
        after = await snapshot_after(
            self._client, self._context.account_id, proposal.snapshot, orders, self._timings.positions_seconds
        )
        all_orders = await self._journal.orders()
        if orders and all(order.state == OrderState.REJECTED for order in orders):
            messages = "; ".join(sorted({order.message for order in orders}))
            raise RunFailed("all_orders_rejected", f"The broker rejected every order: {messages}")
        # Rows that an interrupted attempt did not send were planned again, and are left out.
        current = {order.pk for order in orders}
        reported = [order for order in all_orders if order.submitted_at or order.pk in current]
        report, warnings = make_report(proposal.result, after, reported)
        left = trades_left(proposal.result.trades, orders) if self._gate.refusal is not None else []
        await self._journal.write(store_value, self._context.account_pk, after)
        self._looks.append(after)
        reached(FailPoint.REPORTED, self._context.account_id)
        await self._journal.end(
            RunState.STOPPED if left else RunState.COMPLETED,
            **self._reason_to_stop(left),
            warnings=[warning.model_dump() for warning in (*proposal.warnings, *warnings)],
            report=report,
            total_value_usd=after.total_value_usd,
            cash_usd=after.cash_usd,
            residual_drift=Decimal(report["residual_drift_after"]),
        )

    async def _store_standing(self, *, has_plan: bool) -> None:
        """Store the newest snapshot with its standing, once a run: orders do not wait for it, nor for settings."""
        if self._looks:
            await sync_to_async(store_look)(self._context.account_pk, self._looks[-1])
        if has_plan:
            await sync_to_async(store_planned_run)(self._context.account_pk, self._context.pk)

    def _reason_to_stop(self, left: Sequence[str]) -> dict[str, str]:
        """Return code and message of a run that was stopped with trades left to do; nothing for another."""
        if self._gate.refusal is None or not left:
            return {}
        named = ", ".join(left[:TRADES_NAMED]) + (
            f" and {len(left) - TRADES_NAMED} more" if left[TRADES_NAMED:] else ""
        )
        message = f"{self._gate.refusal.message} Left to do: {named}. Preview the account again to finish."
        return {"code": self._gate.refusal.code, "message": message}
