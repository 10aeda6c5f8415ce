"""Guards that need the plan: trade guard for its sells, feasibility of its orders, turnover, age of its targets."""

from collections.abc import Callable, Collection
from datetime import timedelta
from decimal import Decimal

from asgiref.sync import sync_to_async
from django.utils import timezone

from brokers.base import BrokerClient
from brokers.broker_types import AccountSnapshot
from calculator.formats import percent
from trading.common.concurrency import run_concurrently
from trading.common.formats import instant_text
from trading.guards import auto_approval
from trading.guards.trade_guard import check_trade_guard, settled_cash_usd, spends_settled_cash
from trading.market_calendar import MarketCalendar
from trading.models.run_documents import GuardResult
from trading.planning.proposal import Proposal
from trading.planning.run_context import RunContext

TURNOVER = "turnover_limit"

PlanGuard = Callable[[RunContext, Proposal], GuardResult]
_plan_guards: list[PlanGuard] = []


def plan_guard(guard: PlanGuard) -> PlanGuard:
    """Register the guard."""
    _plan_guards.append(guard)
    return guard


class PlanChecks:
    """Checks the plans of one run."""

    def __init__(
        self,
        context: RunContext,
        client: BrokerClient,
        calendar: MarketCalendar,
        filled_lately: Collection[tuple[str, bool]],
    ) -> None:
        self._context = context
        self._policy = context.policy
        self._client = client
        self._calendar = calendar
        self._filled_lately = filled_lately

    async def check(self, proposal: Proposal) -> list[GuardResult]:
        """Check all plan guards; return one result per guard, in the order in which they refuse."""
        feasible, trade_guard = await run_concurrently(self._orders_feasible(proposal), self.trade_guard(proposal))
        return [trade_guard, *feasible, *(guard(self._context, proposal) for guard in _plan_guards)]

    def approved_by_rule(self, proposal: Proposal, guards: list[GuardResult]) -> GuardResult | None:
        """Return the turnover result if the strategy's rule approved a plan beyond the limit, else None."""
        turnover = next(guard for guard in guards if guard.code == TURNOVER)
        beyond = proposal.result.turnover_percent > self._policy.max_turnover_percent
        return turnover if beyond and turnover.passed and self._context.approved is None else None

    async def trade_guard(self, proposal: Proposal) -> GuardResult:
        """Check whether the trade guard allows the plan's sells in this session."""
        check = await sync_to_async(check_trade_guard)(
            self._context.account_pk,
            self._policy.trade_guard,
            timezone.now(),
            self._calendar,
            resume=self._policy.next_execution_time,
            exclude_run=self._context.pk,
            sells={trade.symbol for trade in proposal.result.trades if trade.quantity < 0},
        )
        return GuardResult(
            code="trade_guard_plan", passed=check.allowed, message=check.message, not_before=check.next_allowed_at
        )

    async def spendable_usd(self, snapshot: AccountSnapshot, cash_usd: Decimal) -> Decimal:
        """Return the cash for buys, in USD: all cash after the sells, or in a cash account its settled part."""
        if not spends_settled_cash(self._policy.trade_guard):
            return cash_usd
        key, now = self._context.account_pk, timezone.now()
        counted = await sync_to_async(settled_cash_usd)(key, cash_usd, now, self._calendar)
        reported = snapshot.settled_cash_usd  # before the sells, whose proceeds do not settle today
        return counted if reported is None else min(counted, reported)

    async def _orders_feasible(self, proposal: Proposal) -> list[GuardResult]:
        """Ask the broker whether it would accept the orders, before any is sent.

        Orders in a symbol and direction that it has recently filled for this account are left out, because each request
        counts against the connection's rate limit. The largest buy is always included, because of the margin. Sells are
        checked in full, buys up to the current cash: the broker checks each order without the sells before it.
        """
        orders = self._orders_to_check(proposal) if self._client.capabilities.what_if else []
        answers = await run_concurrently(
            *(self._client.check_feasible(self._context.account_id, *order) for order in orders)
        )
        refused = [
            (shares, f"{symbol}: {answer.message}")
            for (symbol, shares, _), answer in zip(orders, answers, strict=True)
            if not answer.accepted
        ]
        return [
            _feasible("sell_not_feasible", "sell", [message for shares, message in refused if shares < 0]),
            _feasible("buy_not_feasible", "buy", [message for shares, message in refused if shares > 0]),
        ]

    def _orders_to_check(self, proposal: Proposal) -> list[tuple[str, Decimal, Decimal]]:
        """Return symbol, signed shares and limit price in USD of each order to check."""
        sells = [
            (trade.symbol, Decimal(trade.quantity), trade.price)
            for trade in proposal.result.trades
            if trade.quantity < 0 and trade.price is not None
        ]
        cash = proposal.snapshot.cash_usd
        possible = [
            (buy.symbol, shares, buy.price)
            for buy in proposal.result.plan.buys
            if (shares := min(Decimal(buy.quantity), cash // buy.price - 1)) >= 1
        ]
        largest = max(possible, key=lambda buy: buy[1] * buy[2], default=None)
        return [
            order
            for order in (*sells, *possible)
            if order == largest or (order[0], order[1] < 0) not in self._filled_lately
        ]


def _feasible(code: str, side: str, refused: list[str]) -> GuardResult:
    message = "; ".join(refused) or f"No {side} was reported as not feasible."
    return GuardResult(code=code, passed=not refused, message=message)


@plan_guard
def _turnover(context: RunContext, proposal: Proposal) -> GuardResult:
    turnover, limit = proposal.result.turnover_percent, context.policy.max_turnover_percent
    message = f"The plan trades {percent(turnover)} of the account; the policy allows {percent(limit, None)}."
    if turnover <= limit or context.approved is not None:
        return _unless_approved(context, TURNOVER, message, passed=turnover <= limit)
    approval = auto_approval.decide(context, proposal, targets_are_old=not _targets_age(context, proposal).passed)
    return GuardResult(code=TURNOVER, passed=approval.given, message=f"{message} {approval.reason}".strip())


@plan_guard
def _targets_age(context: RunContext, proposal: Proposal) -> GuardResult:
    limit_days, as_of = context.policy.max_targets_age_days, proposal.targets_as_of
    if as_of is None:
        message = "The targets have no date; they were fetched for this run."
        return GuardResult(code="targets_old", passed=True, message=message)
    days = (timezone.now() - as_of) / timedelta(days=1)
    allowed = f"{limit_days} days" if limit_days else "any age"
    message = f"The targets are from {instant_text(as_of, 'day')}; the policy allows {allowed}."
    return _unless_approved(context, "targets_old", message, passed=not limit_days or days <= limit_days)


def _unless_approved(context: RunContext, code: str, message: str, *, passed: bool) -> GuardResult:
    """Return the result of a guard that a user overrules by approving the plan."""
    if not passed and context.approved is not None:
        return GuardResult(code=code, passed=True, message=f"{message} A user approved this plan.")
    return GuardResult(code=code, passed=passed, message=message)
