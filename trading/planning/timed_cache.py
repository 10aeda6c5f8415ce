"""A cache in the database, by symbol, that all processes share."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Any, Generic, TypeVar

from django.db.models import Manager
from django.utils import timezone

from brokers.broker_types import BrokerValue, ContractFacts, ContractPrice
from brokers.exchange_calendar import NEW_YORK
from trading.models import CachedContract, CachedPrice

T = TypeVar("T", bound=BrokerValue)

CONTRACT_LIFETIME = timedelta(hours=12)
"""Maximum age of a cached contract. Symbols, tick sizes and trading hours can change overnight."""


@dataclass(frozen=True)
class DatabaseCache(Generic[T]):
    """The `TimedCache` of one kind of value, in the table of one model.

    Attributes:
        rows: rows of the model, which has the columns `symbol` and `as_of`, and one column for each scope.
        column: JSON column that stores the value.
        value_type: type of the value.
        not_before: returns the oldest `as_of` that has not expired, given the current time.
        scope: columns that separate entries, such as `broker`; `symbol` completes the unique key.
    """

    rows: Manager[Any]
    column: str
    value_type: type[T]
    not_before: Callable[[datetime], datetime]
    scope: Mapping[str, str]

    async def get(self, symbols: Sequence[str]) -> Mapping[str, T]:
        """Return the entries that have not expired, by symbol."""
        rows = self.rows.filter(**self.scope, symbol__in=symbols, as_of__gt=self.not_before(timezone.now()))
        stored = rows.values_list("symbol", self.column)
        return {symbol: self.value_type.model_validate(value) async for symbol, value in stored}

    async def put(self, entries: Mapping[str, T]) -> None:
        """Store entries for all processes."""
        now = timezone.now()
        await self.rows.abulk_create(
            [
                self.rows.model(
                    **self.scope,
                    symbol=symbol,
                    # A quote has a time of its own; a contract is as old as its lookup.
                    as_of=getattr(value, "as_of", now),
                    **{self.column: value.model_dump(mode="json")},
                )
                # Sorted, so that two processes lock the rows in the same order and cannot deadlock.
                for symbol, value in sorted(entries.items())
            ],
            update_conflicts=True,
            unique_fields=(*self.scope, "symbol"),
            update_fields=(self.column, "as_of"),
        )


def price_cache(broker: str, environment: str, lifetime_seconds: float) -> DatabaseCache[ContractPrice]:
    """Return the cache of recent quotes."""
    lifetime = timedelta(seconds=lifetime_seconds)
    scope = {"broker": broker, "environment": environment}
    return DatabaseCache(CachedPrice.objects, "price", ContractPrice, lambda now: now - lifetime, scope)


def contract_cache(broker: str) -> DatabaseCache[ContractFacts]:
    """Return the cache of contracts that were looked up today."""
    return DatabaseCache(CachedContract.objects, "facts", ContractFacts, _contracts_not_before, {"broker": broker})


def _contracts_not_before(now: datetime) -> datetime:
    midnight = datetime.combine(now.astimezone(NEW_YORK), time(), NEW_YORK)
    return max(now - CONTRACT_LIFETIME, midnight)
