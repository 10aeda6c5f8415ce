"""Contracts that were looked up today, shared by all processes through the database."""

from collections.abc import Mapping, Sequence
from datetime import datetime, time, timedelta

from asgiref.sync import sync_to_async
from django.utils import timezone

from brokers.broker_types import ContractFacts
from brokers.exchange_calendar import NEW_YORK
from trading.models import CachedContract

GOOD_FOR = timedelta(hours=12)
"""Symbols change hands and grids change over night: each day they are looked up once."""


class DatabaseContractCache:
    """The `ContractCache` of a broker."""

    def __init__(self, broker: str) -> None:
        self.broker = broker

    async def get(self, symbols: Sequence[str]) -> Mapping[str, ContractFacts]:
        """Those that are known and still good; the others are left out."""
        return await sync_to_async(self._get)(symbols)

    async def put(self, contracts: Mapping[str, ContractFacts]) -> None:
        """Keeps them for the next."""
        await sync_to_async(self._put)(contracts)

    def _get(self, symbols: Sequence[str]) -> dict[str, ContractFacts]:
        now = timezone.now()
        midnight = datetime.combine(now.astimezone(NEW_YORK), time(), NEW_YORK)  # hours are of the day they were told
        rows = CachedContract.objects.filter(
            broker=self.broker, symbol__in=symbols, as_of__gt=max(now - GOOD_FOR, midnight)
        )
        return {row.symbol: ContractFacts.model_validate(row.facts) for row in rows}

    def _put(self, contracts: Mapping[str, ContractFacts]) -> None:
        now = timezone.now()
        CachedContract.objects.bulk_create(
            [
                CachedContract(broker=self.broker, symbol=symbol, facts=facts.model_dump(mode="json"), as_of=now)
                # In one order everywhere, so that two processes cannot lock each other out.
                for symbol, facts in sorted(contracts.items())
            ],
            update_conflicts=True,
            unique_fields=("broker", "symbol"),
            update_fields=("facts", "as_of"),
        )
