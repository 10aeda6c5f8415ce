"""Data that the accounts of one event share: each strategy's targets and each quote are requested once."""

import asyncio
from collections.abc import Collection, Mapping
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db.models import Max
from django.utils import timezone

from accounts.models import Strategy, TargetAllocation
from brokers.base import BrokerClient
from brokers.broker_types import ContractPrice
from brokers.exceptions import MarketDataUnavailable
from trading.common.timings import DEFAULT_TIMINGS
from trading.errors import RunFailed
from trading.models import PublishedTargets
from trading.planning.allocations import AllocationsClient
from trading.planning.targets import StrategyTargets, as_json, check_targets


class SharedTargets:
    """The targets of strategies, each requested once."""

    def __init__(self, timeout_seconds: float) -> None:
        self._client = AllocationsClient(
            settings.ALLOCATIONS_BASE_URL, settings.ALLOCATIONS_API_KEY.get_secret_value(), timeout_seconds
        )
        self._requests: dict[int, asyncio.Task[StrategyTargets]] = {}

    def prefetch(self, strategy: Strategy) -> None:
        """Request the strategy's targets without waiting for them."""
        if strategy.pk not in self._requests:
            self._requests[strategy.pk] = asyncio.create_task(self._fetch(strategy), name=f"targets of {strategy}")
            self._requests[strategy.pk].add_done_callback(_mark_retrieved)

    def are_available(self, strategy: Strategy) -> bool:
        """Return whether the request has ended, successfully or not, so that no caller has to wait."""
        return strategy.pk in self._requests and self._requests[strategy.pk].done()

    async def of(self, strategy: Strategy) -> StrategyTargets:
        """Return the strategy's targets, from the allocations service or from its own rows.

        Raises:
            RunFailed: they cannot be read or are not valid.
        """
        self.prefetch(strategy)
        # Shielded: the cancellation of one account's run must not cancel the request for the others.
        return await asyncio.shield(self._requests[strategy.pk])

    async def _fetch(self, strategy: Strategy) -> StrategyTargets:
        if strategy.source == Strategy.Source.STATIC:
            return await sync_to_async(_static_targets)(strategy)
        try:
            targets = await self._client.fetch(strategy.name, strategy.stocks_named_like_cash)
        except RunFailed as failure:
            await sync_to_async(_store_outcome)(
                strategy, failed_at=timezone.now(), error_code=failure.code, error_message=failure.message
            )
            raise
        await sync_to_async(_store_outcome)(strategy, fetched_at=timezone.now(), targets=as_json(targets.items))
        return targets


def _mark_retrieved(request: "asyncio.Task[Any]") -> None:
    """Retrieve the exception of a request whose callers have ended, or asyncio logs it as never retrieved."""
    if not request.cancelled():
        request.exception()


def _store_outcome(strategy: Strategy, **outcome: object) -> None:
    """Store the service's answer for the strategy's page. Runs never use it: they request the targets again."""
    known = PublishedTargets.objects.filter(strategy=strategy).values_list("targets", flat=True).first()
    if known is not None and outcome.get("targets") == known:
        del outcome["targets"]  # the same answer again: nothing that depends on it has changed
    PublishedTargets.objects.update_or_create(strategy=strategy, defaults=outcome)


def _static_targets(strategy: Strategy) -> StrategyTargets:
    rows = strategy.targets.order_by("symbol").values_list("symbol", "weight")
    edited = TargetAllocation.history.filter(strategy_id=strategy.pk).aggregate(at=Max("history_date"))
    return check_targets(list(rows), strategy.stocks_named_like_cash, as_of=edited["at"])


class SharedQuotes:
    """Quotes by symbol, each requested once for all accounts that need it at about the same time."""

    def __init__(
        self, client: BrokerClient, *, use_cache: bool, max_age_seconds: float = DEFAULT_TIMINGS.shared_quotes_seconds
    ) -> None:
        self._client = client
        self._use_cache = use_cache
        self._max_age_seconds = max_age_seconds
        self._requests: dict[str, tuple[asyncio.Task[dict[str, ContractPrice]], float]] = {}

    def prefetch(self, symbols: Collection[str]) -> None:
        """Request the quotes of the symbols without waiting for them."""
        missing = [symbol for symbol in symbols if not self._has_current(symbol)]
        if not missing:
            return
        prices = self._client.get_multiple_market_prices(missing, use_cache=self._use_cache)
        task = asyncio.create_task(prices, name=f"quotes of {', '.join(missing)}")
        task.add_done_callback(_mark_retrieved)
        self._requests.update(dict.fromkeys(missing, (task, asyncio.get_running_loop().time())))

    def _has_current(self, symbol: str) -> bool:
        if symbol not in self._requests:
            return False
        task, requested_at = self._requests[symbol]
        return not task.done() or asyncio.get_running_loop().time() - requested_at < self._max_age_seconds

    async def of(self, symbols: Collection[str]) -> Mapping[str, ContractPrice]:
        """Return the quotes of the symbols.

        A symbol without a quote is left out; one that the broker refuses to quote has the broker's message instead.

        Raises:
            MarketDataUnavailable: the broker refuses to quote any of them.
        """
        self.prefetch(symbols)
        tasks = {symbol: self._requests[symbol][0] for symbol in symbols}
        found: dict[str, ContractPrice] = {}
        refusals: dict[str, str] = {}
        for task in set(tasks.values()):
            try:
                found.update(await asyncio.shield(task))
            except MarketDataUnavailable as refusal:
                # It refuses all symbols of one request, which may be only some of these.
                refusals |= {symbol: refusal.message for symbol in tasks if tasks[symbol] is task}
        if refusals and not any(symbol in found for symbol in symbols):
            raise MarketDataUnavailable("; ".join(sorted(set(refusals.values()))))
        for symbol, message in refusals.items():
            found[symbol] = ContractPrice(symbol=symbol, as_of=timezone.now(), message=message)
        return {symbol: found[symbol] for symbol in symbols if symbol in found}
