"""Contracts of US stocks and ETFs by symbol, looked up once a day for all runs. An ambiguous symbol has no contract."""

import asyncio
import logging
from collections.abc import Sequence
from decimal import Decimal

from ib_async import Contract, ContractDetails, PriceIncrement
from ib_async.wrapper import RequestError

from brokers.base import TimedCache
from brokers.broker_types import ContractFacts
from brokers.ibkr import mapping
from brokers.ibkr.connection import GatewayConnection
from brokers.ibkr.ib_client import IBClient
from brokers.ibkr.trading_hours import liquid_hours

logger = logging.getLogger("rebalancer.brokers")

NO_SUCH_CONTRACT = 200
MARKET_RULE_ATTEMPTS = 3
"""Requests for a market rule. If none is answered, the contract's minimum tick is used."""


class Contracts:
    """Contracts of US stocks and ETFs by symbol."""

    def __init__(self, connection: GatewayConnection, cache: TimedCache[ContractFacts]) -> None:
        self._connection = connection
        self._cache = cache
        self._known: dict[str, ContractFacts] = {}
        self._market_rules: dict[int, list[PriceIncrement]] = {}
        self._rules_lock = asyncio.Lock()
        self._lookup_lock = asyncio.Lock()

    async def of(self, symbols: Sequence[str]) -> dict[str, ContractFacts]:
        """Return the contracts by symbol, without symbols for which the broker has none or more than one."""
        if any(symbol not in self._known for symbol in symbols):
            async with self._lookup_lock:  # accounts of one event request the same symbols at the same time
                await self._load([symbol for symbol in dict.fromkeys(symbols) if symbol not in self._known])
        return {symbol: self._known[symbol] for symbol in symbols if symbol in self._known}

    async def _load(self, symbols: Sequence[str]) -> None:
        self._known.update(await self._cache.get(symbols))
        missing = [symbol for symbol in symbols if symbol not in self._known]
        found = await asyncio.gather(*(self._look_up(symbol) for symbol in missing))
        fresh = {facts.symbol: facts for facts in found if facts is not None}
        self._known.update(fresh)
        if fresh:
            await self._cache.put(fresh)

    async def _look_up(self, symbol: str) -> ContractFacts | None:
        async def send(ib: IBClient) -> list[ContractDetails]:
            try:
                return await ib.reqContractDetailsAsync(mapping.smart_stock(symbol))
            except RequestError as error:
                if error.code == NO_SUCH_CONTRACT:
                    return []
                raise

        details = await self._connection.request(f"the contract of {symbol}", send)
        found = {one.contract.conId: one for one in details if one.contract and mapping.is_us_stock(one.contract)}
        if len(found) != 1:
            logger.warning("The broker has %d contracts for the symbol %s; none is used.", len(found), symbol)
            return None
        ((con_id, only),) = found.items()
        try:
            hours = liquid_hours(only)
        except ValueError as error:
            logger.warning("The trading hours of %s cannot be read (%s); only the calendar is used", symbol, error)
            hours = ()
        return ContractFacts(
            symbol=symbol,
            contract_id=str(con_id),
            primary_exchange=only.contract.primaryExchange if only.contract else "",
            tick_steps=await self._tick_steps(only),
            liquid_hours=hours,
        )

    async def _tick_steps(self, details: ContractDetails) -> tuple[tuple[Decimal, Decimal], ...]:
        rule = mapping.smart_rule(details)
        if rule is None:
            return mapping.tick_steps([], details.minTick)
        async with self._rules_lock:  # most symbols share a rule, which is requested once
            if rule not in self._market_rules:
                self._market_rules[rule] = await self._request_rule(rule)
        return mapping.tick_steps(self._market_rules[rule], details.minTick)

    async def _request_rule(self, rule: int) -> list[PriceIncrement]:
        async def send(ib: IBClient) -> list[PriceIncrement]:
            # The library's timeout of one second includes the time that the request waits in the queue.
            for _ in range(MARKET_RULE_ATTEMPTS):
                if (increments := await ib.reqMarketRuleAsync(rule)) is not None:
                    return increments
            return []

        return await self._connection.request(f"market rule {rule}", send)


def to_ib_contract(facts: ContractFacts) -> Contract:
    """Return the contract for ib_async, with smart routing."""
    return mapping.smart_stock(facts.symbol, int(facts.contract_id), facts.primary_exchange)
