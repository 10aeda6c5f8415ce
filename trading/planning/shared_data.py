"""What the accounts of one event share: one fetch of each strategy's targets, one set of quotes."""

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db.models import Max
from django.utils import timezone

from accounts.models import Strategy, TargetAllocation
from brokers.base import BrokerClient
from brokers.broker_types import ContractPrice
from brokers.exceptions import MarketDataUnavailable
from calculator import AllocationItem
from trading.errors import RunFailed
from trading.models import PublishedTargets
from trading.planning.allocations import AllocationsClient, Published, as_json, check_targets

SHARED_SECONDS = 5.0
"""For so long after they were asked for quotes are shared; who comes later asks anew."""


class SharedTargets:
    """The targets of strategies, each asked for once."""

    def __init__(self, timeout_seconds: float) -> None:
        self._client = AllocationsClient(
            settings.ALLOCATIONS_BASE_URL, settings.ALLOCATIONS_API_KEY.get_secret_value(), timeout_seconds
        )
        self._fetches: dict[int, asyncio.Task[Published]] = {}

    def ask_for(self, strategy: Strategy) -> None:
        """Sends for the strategy's targets, for whoever wants them later."""
        if strategy.pk not in self._fetches:
            self._fetches[strategy.pk] = asyncio.create_task(self._fetch(strategy), name=f"targets of {strategy}")
            self._fetches[strategy.pk].add_done_callback(_seen)

    def are_at_hand(self, strategy: Strategy) -> bool:
        """Whether asking has ended, with them or without: nobody has to wait."""
        return strategy.pk in self._fetches and self._fetches[strategy.pk].done()

    async def of(self, strategy: Strategy) -> tuple[AllocationItem, ...]:
        """The strategy's targets, as published or as its rows say.

        Raises:
            RunFailed: they cannot be had, or nobody can have meant them.
        """
        return (await self._published(strategy)).items

    async def as_of(self, strategy: Strategy) -> datetime | None:
        """Since when the targets are what `of` says; None when nothing tells.

        Raises:
            RunFailed: as above.
        """
        return (await self._published(strategy)).as_of

    async def _published(self, strategy: Strategy) -> Published:
        self.ask_for(strategy)
        # Shielded: one account that gives up must not take the answer from the others.
        return await asyncio.shield(self._fetches[strategy.pk])

    async def _fetch(self, strategy: Strategy) -> Published:
        if strategy.source == Strategy.Source.STATIC:
            return await sync_to_async(_static_targets)(strategy)
        try:
            published = await self._client.fetch(strategy.name)
        except RunFailed as failure:
            await sync_to_async(_remember)(
                strategy, failed_at=timezone.now(), error_code=failure.code, error_message=failure.message
            )
            raise
        await sync_to_async(_remember)(strategy, fetched_at=timezone.now(), targets=as_json(published.items))
        return published


def _seen(fetch: "asyncio.Task[Any]") -> None:
    """Takes note of how it ended, also when the runs that wanted it have ended before."""
    if not fetch.cancelled():
        fetch.exception()


def _remember(strategy: Strategy, **answer: object) -> None:
    """Keeps what the service said, for the strategy's page; runs ask anew."""
    PublishedTargets.objects.update_or_create(strategy=strategy, defaults=answer)


def _static_targets(strategy: Strategy) -> Published:
    rows = strategy.targets.order_by("symbol").values_list("symbol", "weight")
    items = check_targets([AllocationItem(symbol=symbol, weight=weight) for symbol, weight in rows])
    edited = TargetAllocation.history.filter(strategy_id=strategy.pk).aggregate(at=Max("history_date"))
    return Published(items, edited["at"])


@dataclass(frozen=True)
class _Asked:
    """A question about some symbols."""

    fetch: "asyncio.Task[dict[str, ContractPrice]]"
    at: float

    @property
    def is_of_now(self) -> bool:
        return not self.fetch.done() or asyncio.get_running_loop().time() - self.at < SHARED_SECONDS


class SharedQuotes:
    """Quotes by symbol, each asked for once, however many accounts want it at about the same time."""

    def __init__(self, client: BrokerClient, *, use_cache: bool) -> None:
        self._client = client
        self._use_cache = use_cache
        self._asked: dict[str, _Asked] = {}

    def ask_for(self, symbols: Collection[str]) -> None:
        """Sends for the quotes of the symbols, for whoever wants them later."""
        missing = [symbol for symbol in symbols if symbol not in self._asked or not self._asked[symbol].is_of_now]
        if not missing:
            return
        question = self._client.get_multiple_market_prices(missing, use_cache=self._use_cache)
        fetch = asyncio.create_task(question, name=f"quotes of {', '.join(missing)}")
        fetch.add_done_callback(_seen)
        self._asked.update(dict.fromkeys(missing, _Asked(fetch, asyncio.get_running_loop().time())))

    async def of(self, symbols: Collection[str]) -> Mapping[str, ContractPrice]:
        """The quotes of the symbols; one that the broker has none for is left out, or says so in its words.

        Raises:
            MarketDataUnavailable: the broker refuses to quote any of them.
        """
        self.ask_for(symbols)
        asked = {symbol: self._asked[symbol].fetch for symbol in symbols}
        found: dict[str, ContractPrice] = {}
        refusals: dict[str, str] = {}
        for fetch in set(asked.values()):
            try:
                found.update(await asyncio.shield(fetch))
            except MarketDataUnavailable as refusal:
                # Of those that were asked for together, which by chance may be one of many.
                refusals |= {symbol: refusal.message for symbol in asked if asked[symbol] is fetch}
        if refusals and not any(symbol in found for symbol in symbols):
            raise MarketDataUnavailable("; ".join(sorted(set(refusals.values()))))
        found |= {
            symbol: ContractPrice(symbol=symbol, as_of=timezone.now(), message=words)
            for symbol, words in refusals.items()
        }
        return {symbol: found[symbol] for symbol in symbols if symbol in found}
