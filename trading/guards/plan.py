"""Guards that need a plan to look at: turnover, age of targets, the trade guard's view of its sells, feasible buys."""

from collections.abc import Collection
from datetime import timedelta
from decimal import Decimal

from asgiref.sync import sync_to_async
from django.utils import timezone

from brokers.base import BrokerClient
from brokers.broker_types import AccountSnapshot
from brokers.exchange_calendar import NEW_YORK
from trading.common.concurrency import run_concurrently
from trading.guards.auto_approval import judge
from trading.guards.trade_guard import check_trade_guard, settled_cash_usd, spends_settled_cash
from trading.market_calendar import MarketCalendar
from trading.models.run_documents import GuardResult
from trading.planning.proposal import Proposal
from trading.planning.run_context import RunContext

TURNOVER = "turnover_limit"


class PlanChecks:
    """Looks at the plans of one run."""

    def __init__(
        self,
        context: RunContext,
        client: BrokerClient,
        calendar: MarketCalendar,
        filled_lately: Collection[tuple[str, bool]],
    ) -> None:
        self._ticket = context
        self._policy = context.policy
        self._client = client
        self._calendar = calendar
        self._filled_lately = filled_lately

    async def check(self, proposal: Proposal) -> list[GuardResult]:
        """What every guard says of the plan, in the order in which they refuse."""
        age = self._targets_age(proposal)
        feasible, trade_guard = await run_concurrently(self._orders_feasible(proposal), self.trade_guard(proposal))
        return [trade_guard, *feasible, self._turnover(proposal, age), age]

    def approved_by_rule(self, proposal: Proposal, guards: list[GuardResult]) -> GuardResult | None:
        """What says that a plan beyond the turnover limit was approved by its strategy's rule; None if it was not."""
        turnover = next(guard for guard in guards if guard.code == TURNOVER)
        beyond = proposal.result.turnover_percent > self._policy.max_turnover_percent
        return turnover if beyond and turnover.passed and self._ticket.approved is None else None

    async def trade_guard(self, proposal: Proposal) -> GuardResult:
        """Whether what the plan sells may be sold in this session."""
        check = await sync_to_async(check_trade_guard)(
            self._ticket.account_pk,
            self._policy.trade_guard,
            timezone.now(),
            self._calendar,
            resume=self._policy.next_execution_time,
            exclude_run=self._ticket.pk,
            sells={trade.symbol for trade in proposal.result.trades if trade.quantity < 0},
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

    def _turnover(self, proposal: Proposal, age: GuardResult) -> GuardResult:
        turnover, limit = proposal.result.turnover_percent, self._policy.max_turnover_percent
        words = f"The plan trades {turnover:.1f} % of the account; the policy allows {limit:.0f} %."
        if turnover <= limit or self._ticket.approved is not None:
            return self._unless_approved(TURNOVER, words, passed=turnover <= limit)
        approval = judge(self._ticket, proposal, targets_are_old=not age.passed)
        return GuardResult(code=TURNOVER, passed=approval.given, message=f"{words} {approval.reason}".strip())

    def _targets_age(self, proposal: Proposal) -> GuardResult:
        limit_days, as_of = self._policy.max_targets_age_days, proposal.targets_as_of
        if as_of is None:
            return GuardResult(
                code="targets_old",
                passed=True,
                message="Nothing says how old the targets are; they were read just now.",
            )
        days = (timezone.now() - as_of) / timedelta(days=1)
        words = f"The targets are of {as_of.astimezone(NEW_YORK):%Y-%m-%d}"
        if not limit_days:
            return GuardResult(code="targets_old", passed=True, message=f"{words}; the policy allows any age.")
        return self._unless_approved(
            "targets_old", f"{words}; the policy allows {limit_days} days.", passed=days <= limit_days
        )

    def _unless_approved(self, code: str, words: str, *, passed: bool) -> GuardResult:
        """A guard that a person overrules by approving the very plan."""
        if not passed and self._ticket.approved is not None:
            return GuardResult(code=code, passed=True, message=f"{words} A person has approved this plan.")
        return GuardResult(code=code, passed=passed, message=words)

    async def _orders_feasible(self, proposal: Proposal) -> list[GuardResult]:
        """Asks the broker what it would say of the orders, before any is sent.

        Not of those whose like it has lately filled for this account: each question counts against the pace of the
        link. The largest buy is always asked about, for the margin. Sells are asked about whole; buys as far as the
        cash of now reaches, since the broker judges each order by itself and knows nothing of the sells before it.
        """
        questions = self._questions(proposal) if self._client.capabilities.what_if else []
        answers = await run_concurrently(
            *(
                self._client.check_feasible(self._ticket.account_id, symbol, shares, price)
                for symbol, shares, price in questions
            )
        )
        refused = [
            (shares, f"{symbol}: {answer.message}")
            for (symbol, shares, _), answer in zip(questions, answers, strict=True)
            if not answer.accepted
        ]
        return [
            _feasible("sell", [words for shares, words in refused if shares < 0]),
            _feasible("buy", [words for shares, words in refused if shares > 0]),
        ]

    def _questions(self, proposal: Proposal) -> list[tuple[str, Decimal, Decimal]]:
        """Symbol, signed shares and limit of each order to ask about."""
        sells = [
            (trade.symbol, Decimal(trade.quantity), trade.price)
            for trade in proposal.result.trades
            if trade.quantity < 0 and trade.price is not None
        ]
        cash = proposal.snapshot.cash_usd
        buys = [
            (buy.symbol, min(Decimal(buy.quantity), cash // buy.price - 1), buy.price)
            for buy in proposal.result.plan.buys
        ]
        possible = [(symbol, shares, price) for symbol, shares, price in buys if shares >= 1]
        largest = max(possible, key=lambda buy: buy[1] * buy[2], default=None)
        return [
            question
            for question in (*sells, *possible)
            if question == largest or (question[0], question[1] < 0) not in self._filled_lately
        ]


def _feasible(side: str, refused: list[str]) -> GuardResult:
    return GuardResult(
        code=f"{side}_not_feasible",
        passed=not refused,
        message="; ".join(refused) or f"Every {side} is feasible, as far as the broker can tell beforehand.",
    )
