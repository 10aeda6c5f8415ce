"""Quotes of a moment ago, shared by all processes through the database."""

from collections.abc import Mapping, Sequence
from datetime import timedelta

from asgiref.sync import sync_to_async
from django.utils import timezone

from brokers.broker_types import ContractPrice
from trading.models import CachedPrice


class DatabasePriceCache:
    """The `PriceCache` of a broker and environment; a quote older than its time to live is not there."""

    def __init__(self, broker: str, environment: str, ttl_seconds: float) -> None:
        self.broker = broker
        self.environment = environment
        self.ttl = timedelta(seconds=ttl_seconds)

    async def get(self, symbols: Sequence[str]) -> Mapping[str, ContractPrice]:
        """The quotes that are fresh enough; the others are left out."""
        return await sync_to_async(self._get)(symbols)

    async def put(self, prices: Mapping[str, ContractPrice]) -> None:
        """Keeps them for the next."""
        await sync_to_async(self._put)(prices)

    def _get(self, symbols: Sequence[str]) -> dict[str, ContractPrice]:
        rows = CachedPrice.objects.filter(
            broker=self.broker,
            environment=self.environment,
            symbol__in=symbols,
            as_of__gt=timezone.now() - self.ttl,
        )
        return {row.symbol: ContractPrice.model_validate(row.price) for row in rows}

    def _put(self, prices: Mapping[str, ContractPrice]) -> None:
        CachedPrice.objects.bulk_create(
            [
                CachedPrice(
                    broker=self.broker,
                    environment=self.environment,
                    symbol=symbol,
                    price=price.model_dump(mode="json"),
                    as_of=price.as_of,
                )
                # In one order everywhere, so that two processes cannot lock each other out.
                for symbol, price in sorted(prices.items())
            ],
            update_conflicts=True,
            unique_fields=("broker", "environment", "symbol"),
            update_fields=("price", "as_of"),
        )
