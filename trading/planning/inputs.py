"""What a plan is made from: targets, the account, and quotes."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from django.utils import timezone

from brokers.base import BrokerClient
from brokers.broker_types import AccountSnapshot, ContractPrice
from calculator import AllocationItem, CalculationRefused, apply_replacements
from trading.common.concurrency import run_concurrently
from trading.errors import Refused
from trading.journal.run_journal import RunJournal
from trading.models import RunStep
from trading.planning.account_state import held_shares, shares_of
from trading.planning.allocations import as_json
from trading.planning.run_context import RunContext
from trading.planning.shared_data import SharedQuotes, SharedTargets

ACCOUNT_SECONDS = 2.0
"""An account that was read longer ago is read again before it is planned: cash may have come or gone."""


@dataclass(frozen=True)
class PlanInputs:
    """What a plan is made from; `symbols` are those whose quotes were asked for."""

    targets: tuple[AllocationItem, ...]
    snapshot: AccountSnapshot
    symbols: tuple[str, ...]
    prices: Mapping[str, ContractPrice]
    instruments: Mapping[str, dict[str, str]]


class PlanInputsReader:
    """Looks on behalf of one run."""

    def __init__(
        self,
        context: RunContext,
        client: BrokerClient,
        journal: RunJournal,
        targets: SharedTargets,
        quotes: SharedQuotes,
        held_before: Collection[str],
    ) -> None:
        self._ticket = context
        self._client = client
        self._journal = journal
        self._targets = targets
        self._quotes = quotes
        self._held_before = held_before

    async def see(self) -> PlanInputs:
        """Targets, the account and quotes: asked for at once, as far as one does not need another."""
        targets, snapshot, _ = await run_concurrently(
            self._targets_to_plan(), self._account(), self._ask_for_quotes_of_what_is_held()
        )
        if (timezone.now() - snapshot.as_of).total_seconds() > ACCOUNT_SECONDS:
            snapshot = await self._account()  # the targets were long in coming
        symbols = tuple(sorted({item.symbol for item in targets} | set(held_shares(snapshot))))
        prices, names = await run_concurrently(self._quotes.of(symbols), self._client.describe(symbols))
        return PlanInputs(
            targets, snapshot, symbols, prices, {symbol: name.model_dump() for symbol, name in names.items()}
        )

    async def _targets_to_plan(self) -> tuple[AllocationItem, ...]:
        """The targets; their quotes are on their way, with those of what the account held when it was last planned."""
        targets = await self._wanted()
        self._quotes.ask_for([item.symbol for item in targets])
        self._quotes.ask_for(sorted(self._held_before))  # apart: what is not held any more is not waited for
        await self._journal.record(RunStep.SNAPSHOT, targets=as_json(targets))
        return targets

    async def _ask_for_quotes_of_what_is_held(self) -> None:
        """Positions are mostly known before values are: what is new among them is asked for meanwhile."""
        self._quotes.ask_for(sorted(shares_of(await self._client.get_positions(self._ticket.account_id))))

    async def _wanted(self) -> tuple[AllocationItem, ...]:
        if self._ticket.strategy is None:
            raise Refused("no_strategy", f"Account {self._ticket.account_id} follows no strategy.")
        if not self._targets.are_at_hand(self._ticket.strategy):
            await self._journal.record(RunStep.TARGETS)
        published = await self._targets.of(self._ticket.strategy)
        try:
            replaced = apply_replacements(published, self._ticket.replacement_rules, self._ticket.policy.replacements)
        except CalculationRefused as refusal:
            raise Refused(refusal.code, refusal.message) from refusal
        symbols = [item.symbol for item in replaced.items]
        if unknown := await self._client.unknown_symbols(symbols):
            raise Refused("unknown_symbol", f"The broker cannot trade: {', '.join(unknown)}. Nothing was sent.")
        return tuple(replaced.items)

    async def _account(self) -> AccountSnapshot:
        snapshot = await self._client.get_account_snapshot(
            self._ticket.account_id, use_cached_prices=not self._ticket.executes
        )
        await run_concurrently(
            self._journal.record(
                RunStep.QUOTES,
                total_value_usd=snapshot.total_value_usd,
                cash_usd=snapshot.cash_usd,
                snapshot=snapshot.model_dump(mode="json"),
            ),
            self._journal.store_value(self._ticket.account_pk, snapshot.total_value_usd, snapshot.cash_usd),
        )
        return snapshot
