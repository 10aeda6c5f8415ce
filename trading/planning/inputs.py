"""Read what a plan is made from: targets, the account, and quotes."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from django.utils import timezone

from brokers.base import BrokerClient
from brokers.broker_types import AccountSnapshot, ContractPrice
from calculator import AllocationItem
from trading.common.concurrency import run_concurrently
from trading.errors import Refused
from trading.journal.account_status import store_value
from trading.journal.run_journal import RunJournal
from trading.market_calendar import MarketCalendar, never_closes
from trading.models import RunStep
from trading.planning.account_state import held_shares
from trading.planning.run_context import RunContext
from trading.planning.shared_data import SharedQuotes, SharedTargets
from trading.planning.targets import StrategyTargets, as_json, replaced_targets


@dataclass(frozen=True)
class PlanInputs:
    """What a plan is made from.

    Attributes:
        published: targets of the strategy as its source has them.
        targets: targets after replacements.
        symbols: symbols of the targets and of the account's US stocks, sorted.
        closed: those whose exchange is closed now.
        instruments: description of each symbol, as stored on the run.
    """

    published: StrategyTargets
    targets: tuple[AllocationItem, ...]
    snapshot: AccountSnapshot
    symbols: tuple[str, ...]
    prices: Mapping[str, ContractPrice]
    closed: Collection[str]
    instruments: Mapping[str, dict[str, str]]


@dataclass(frozen=True)
class PlanInputsReader:
    """Reads the inputs of one run's plan; adds each account snapshot to `looks`."""

    context: RunContext
    client: BrokerClient
    journal: RunJournal
    calendar: MarketCalendar
    targets: SharedTargets
    quotes: SharedQuotes
    previously_held: Collection[str]
    account_age_seconds: float
    looks: list[AccountSnapshot]

    async def read(self) -> PlanInputs:
        """Read targets, account and quotes, concurrently where they do not depend on each other.

        Raises:
            Refused: the account has no strategy, or its targets cannot be traded.
            RunFailed: the targets cannot be read.
            BrokerError: the broker cannot report the account or any quote.
        """
        (published, targets), snapshot, _ = await run_concurrently(
            self._read_targets(), self._read_account(), self._prefetch_quotes_of_positions()
        )
        if (timezone.now() - snapshot.as_of).total_seconds() > self.account_age_seconds:
            snapshot = await self._read_account()  # the targets took long
        symbols = tuple(sorted({item.symbol for item in targets} | set(held_shares(snapshot.positions))))
        prices, names = await run_concurrently(self.quotes.of(symbols), self.client.describe(symbols))
        # A rehearsal calendar that never closes has no exchange hours to check against.
        closed = () if never_closes(self.calendar) else await self.client.closed_symbols(symbols, timezone.now())
        instruments = {symbol: name.model_dump() for symbol, name in names.items()}
        return PlanInputs(published, targets, snapshot, symbols, prices, closed, instruments)

    async def _read_targets(self) -> tuple[StrategyTargets, tuple[AllocationItem, ...]]:
        """Return the targets before and after replacements, and request the quotes that they will need."""
        published, targets = await self._replaced_targets()
        self.quotes.prefetch([item.symbol for item in targets])
        # In a request of their own: quotes of symbols that are not held any more are not waited for.
        self.quotes.prefetch(sorted(self.previously_held))
        await self.journal.record(RunStep.SNAPSHOT, targets=as_json(targets))
        return published, targets

    async def _prefetch_quotes_of_positions(self) -> None:
        # Positions usually arrive before account values.
        self.quotes.prefetch(sorted(held_shares(await self.client.get_positions(self.context.account_id))))

    async def _replaced_targets(self) -> tuple[StrategyTargets, tuple[AllocationItem, ...]]:
        strategy = self.context.strategy
        if strategy is None:
            raise Refused("no_strategy", f"Account {self.context.account_id} has no strategy. Assign one.")
        if not self.targets.are_available(strategy):
            await self.journal.record(RunStep.TARGETS)
        published = await self.targets.of(strategy)
        targets = replaced_targets(
            published.items,
            self.context.replacement_rules,
            self.context.policy.replacements,
            strategy.stocks_named_like_cash,
        )
        symbols = [item.symbol for item in targets]
        if unknown := await self.client.unknown_symbols(symbols):
            named = "; ".join(self._with_reason(symbol) for symbol in unknown)
            raise Refused("unknown_symbol", f"The broker cannot trade: {named}. Nothing was sent.")
        return published, targets

    def _with_reason(self, symbol: str) -> str:
        reason = self.client.why_unknown(symbol)
        return f"{symbol} ({reason})" if reason else symbol

    async def _read_account(self) -> AccountSnapshot:
        snapshot = await self.client.get_account_snapshot(
            self.context.account_id, use_cached_prices=not self.context.executes
        )
        await run_concurrently(
            self.journal.record(
                RunStep.QUOTES,
                total_value_usd=snapshot.total_value_usd,
                cash_usd=snapshot.cash_usd,
                snapshot=snapshot.model_dump(mode="json"),
            ),
            self.journal.write(store_value, self.context.account_pk, snapshot),
        )
        self.looks.append(snapshot)
        return snapshot
