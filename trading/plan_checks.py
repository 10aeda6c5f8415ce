"""Guards that need a plan to look at: turnover, the trade guard's view of its sells, and whether buys are feasible."""

import asyncio
from decimal import Decimal

from asgiref.sync import sync_to_async
from django.utils import timezone

from brokers.base import BrokerClient
from brokers.values import AccountSnapshot
from trading.market_calendar import MarketCalendar
from trading.planned import Planned
from trading.run_ticket import RunTicket
from trading.trade_guard import check_trade_guard, settled_cash_usd, spends_settled_cash
from trading.values import GuardResult

HELD = "turnover_limit"
"""The guard that a person can overrule, by approving the very plan."""


class PlanChecks:
    """Looks at the plans of one run."""

    def __init__(self, ticket: RunTicket, client: BrokerClient, calendar: MarketCalendar) -> None:
        self._ticket = ticket
        self._policy = ticket.policy
        self._client = client
        self._calendar = calendar

    async def check(self, planned: Planned) -> list[GuardResult]:
        """What every guard says of the plan, in the order in which they refuse."""
        return [await self.trade_guard(planned), await self._buys_feasible(planned), self._turnover(planned)]

    async def trade_guard(self, planned: Planned) -> GuardResult:
        """Whether what the plan sells may be sold in this session."""
        check = await sync_to_async(check_trade_guard)(
            self._ticket.account_pk,
            self._policy.trade_guard,
            timezone.now(),
            self._calendar,
            resume=self._policy.next_execution_time,
            but_run=self._ticket.pk,
            sells={trade.symbol for trade in planned.result.trades if trade.quantity < 0},
        )
        return GuardResult(
            code="trade_guard_plan", passed=check.allowed, message=check.message, not_before=check.next_allowed_at
        )

    async def spendable_usd(self, snapshot: AccountSnapshot, cash_usd: Decimal) -> Decimal:
        """What buys may cost: all the cash there is after the sells, or of a cash account what has settled of it."""
        if not spends_settled_cash(self._policy.trade_guard):
            return cash_usd
        counted = await sync_to_async(settled_cash_usd)(
            self._ticket.account_pk, cash_usd, timezone.now(), self._calendar
        )
        told = snapshot.settled_cash_usd  # by the broker, before the sells, which add nothing to it today
        return counted if told is None else min(counted, told)

    def _turnover(self, planned: Planned) -> GuardResult:
        turnover, limit = planned.result.turnover_percent, self._policy.max_turnover_percent
        words = f"The plan trades {turnover:.1f} % of the account; the policy allows {limit:.0f} %."
        if self._ticket.approved is not None and turnover > limit:
            return GuardResult(code=HELD, passed=True, message=f"{words} A person has approved this plan.")
        return GuardResult(code=HELD, passed=turnover <= limit, message=words)

    async def _buys_feasible(self, planned: Planned) -> GuardResult:
        """Asks the broker about every buy, as far as the cash of now reaches; the sells bring the rest."""
        questions = []
        if self._client.capabilities.what_if:
            for buy in planned.result.plan.buys:
                shares = min(Decimal(buy.quantity), planned.snapshot.cash_usd // buy.price - 1)
                if shares >= 1:
                    questions.append((buy.symbol, shares, buy.price))
        asked = await asyncio.gather(
            *(
                self._client.check_feasible(self._ticket.account_id, symbol, shares, price)
                for symbol, shares, price in questions
            )
        )
        refused = [
            f"{symbol}: {answer.message}"
            for (symbol, _, _), answer in zip(questions, asked, strict=True)
            if not answer.accepted
        ]
        return GuardResult(
            code="buy_not_feasible",
            passed=not refused,
            message="; ".join(refused) or "Every buy is feasible, as far as the broker can tell beforehand.",
        )
