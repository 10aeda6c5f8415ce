"""A cache in the database, by symbol, that all processes share."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, time, timedelta
from typing import Any, Generic, TypeVar

from asgiref.sync import sync_to_async
from django.db.models import Manager
from django.utils import timezone

from brokers.broker_types import BrokerValue, ContractFacts, ContractPrice
from brokers.exchange_calendar import NEW_YORK
from trading.models import CachedContract, CachedPrice

T = TypeVar("T", bound=BrokerValue)

CONTRACT_LIFETIME = timedelta(hours=12)
"""Maximum age of a cached contract. Symbols, tick sizes and trading hours can change overnight."""


class DatabaseCache(Generic[T]):
    """The `TimedCache` of one kind of value, in the table of one model.

    Args:
        rows: rows of the model, which has the columns `symbol` and `as_of`, and one column for each scope.
        column: JSON column that stores the value.
        value_type: type of the value.
        not_before: returns the oldest `as_of` that has not expired, given the current time.
        scope: columns that separate entries, such as `broker`; `symbol` completes the unique key.
    """

    def __init__(
        self,
        rows: Manager[Any],
        column: str,
        value_type: type[T],
        not_before: Callable[[datetime], datetime],
        **scope: str,
    ) -> None:
        self._rows = rows
        self._column = column
        self._value_type = value_type
        self._not_before = not_before
        self._scope = scope

    async def get(self, symbols: Sequence[str]) -> Mapping[str, T]:
        """Return the entries that have not expired, by symbol."""
        return await sync_to_async(self._get)(symbols)

    async def put(self, entries: Mapping[str, T]) -> None:
        """Store entries for all processes."""
        await sync_to_async(self._put)(entries)

    def _get(self, symbols: Sequence[str]) -> dict[str, T]:
        rows = self._rows.filter(
            **self._scope, symbol__in=symbols, as_of__gt=self._not_before(timezone.now())
        ).values_list("symbol", self._column)
        return {symbol: self._value_type.model_validate(value) for symbol, value in rows}

    def _put(self, entries: Mapping[str, T]) -> None:
        now = timezone.now()
        self._rows.bulk_create(
            [
                self._rows.model(
                    **self._scope,
                    symbol=symbol,
                    # A quote has a time of its own; a contract is as old as its lookup.
                    as_of=getattr(value, "as_of", now),
                    **{self._column: value.model_dump(mode="json")},
                )
                # Sorted, so that two processes lock the rows in the same order and cannot deadlock.
                for symbol, value in sorted(entries.items())
            ],
            update_conflicts=True,
            unique_fields=(*self._scope, "symbol"),
            update_fields=(self._column, "as_of"),
        )


def price_cache(broker: str, environment: str, lifetime_seconds: float) -> DatabaseCache[ContractPrice]:
    """Return the cache of recent quotes."""
    lifetime = timedelta(seconds=lifetime_seconds)
    return DatabaseCache(
        CachedPrice.objects, "price", ContractPrice, lambda now: now - lifetime, broker=broker, environment=environment
    )


def contract_cache(broker: str) -> DatabaseCache[ContractFacts]:
    """Return the cache of contracts that were looked up today."""
    return DatabaseCache(CachedContract.objects, "facts", ContractFacts, _contracts_not_before, broker=broker)


def _contracts_not_before(now: datetime) -> datetime:
    midnight = datetime.combine(now.astimezone(NEW_YORK), time(), NEW_YORK)
    return max(now - CONTRACT_LIFETIME, midnight)
