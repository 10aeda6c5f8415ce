"""Symbols and their contracts: looked up once a day for all runs, and never guessed."""

import asyncio
import logging
from collections.abc import Sequence
from decimal import Decimal

from ib_async import Contract, ContractDetails, PriceIncrement
from ib_async.wrapper import RequestError
from pydantic import ValidationError

from brokers.base import ContractCache
from brokers.broker_types import ContractFacts, ExchangeDay
from brokers.ibkr import mapping
from brokers.ibkr.connection import GatewayConnection
from brokers.ibkr.ib_client import IBClient
from brokers.ibkr.trading_hours import ContractHours

logger = logging.getLogger("rebalancer.brokers")

NO_SUCH_CONTRACT = 200
RULE_TRIES = 3
"""So often a market rule is asked for; a contract whose rule does not come is quoted in its least tick."""


class Contracts:
    """US stocks and ETFs by symbol."""

    def __init__(self, link: GatewayConnection, cache: ContractCache) -> None:
        self._link = link
        self._cache = cache
        self._known: dict[str, ContractFacts] = {}
        self._rules: dict[int, list[PriceIncrement]] = {}
        self._asking_rules = asyncio.Lock()
        self._looking = asyncio.Lock()

    async def of(self, symbols: Sequence[str]) -> dict[str, ContractFacts]:
        """The contracts of the symbols; one that the broker does not know, or knows more than once, is left out."""
        if any(symbol not in self._known for symbol in symbols):
            async with self._looking:  # accounts of one event ask for the same symbols at the same time
                await self._learn([symbol for symbol in dict.fromkeys(symbols) if symbol not in self._known])
        return {symbol: self._known[symbol] for symbol in symbols if symbol in self._known}

    async def _learn(self, symbols: Sequence[str]) -> None:
        self._known.update(await self._cache.get(symbols))
        missing = [symbol for symbol in symbols if symbol not in self._known]
        found = await asyncio.gather(*(self._look_up(symbol) for symbol in missing))
        fresh = {facts.symbol: facts for facts in found if facts is not None}
        self._known.update(fresh)
        if fresh:
            await self._cache.put(fresh)

    async def _look_up(self, symbol: str) -> ContractFacts | None:
        async def ask(wire: IBClient) -> list[ContractDetails]:
            try:
                return await wire.reqContractDetailsAsync(mapping.smart_stock(symbol))
            except RequestError as error:
                if error.code == NO_SUCH_CONTRACT:
                    return []
                raise

        details = await self._link.ask(f"the contract of {symbol}", ask)
        found = {one.contract.conId: one for one in details if one.contract and mapping.is_us_stock(one.contract)}
        if len(found) != 1:
            logger.warning("The broker knows %d contracts by the symbol %s; none is taken.", len(found), symbol)
            return None
        ((con_id, only),) = found.items()
        trading_hours, liquid_hours = _hours(symbol, only)
        return ContractFacts(
            symbol=symbol,
            contract_id=str(con_id),
            primary_exchange=only.contract.primaryExchange if only.contract else "",
            tick_steps=await self._tick_steps(only),
            trading_hours=trading_hours,
            liquid_hours=liquid_hours,
        )

    async def _tick_steps(self, details: ContractDetails) -> tuple[tuple[Decimal, Decimal], ...]:
        rule = mapping.smart_rule(details)
        if rule is None:
            return mapping.tick_steps([], details.minTick)
        async with self._asking_rules:  # most symbols have the same one: it is asked for once
            if rule not in self._rules:
                self._rules[rule] = await self._ask_rule(rule)
        return mapping.tick_steps(self._rules[rule], details.minTick)

    async def _ask_rule(self, rule: int) -> list[PriceIncrement]:
        async def ask(wire: IBClient) -> list[PriceIncrement]:
            # The library gives up after a second, also while the question still waits for its turn in the queue.
            for _ in range(RULE_TRIES):
                if (increments := await wire.reqMarketRuleAsync(rule)) is not None:
                    return increments
            return []

        return await self._link.ask(f"market rule {rule}", ask)


def _hours(symbol: str, details: ContractDetails) -> tuple[tuple[ExchangeDay, ...], tuple[ExchangeDay, ...]]:
    try:
        hours = ContractHours.of(details)
    except ValidationError as error:
        words = error.errors()[0]["msg"]
        logger.warning("The hours of %s cannot be read (%s); the calendar alone says when it is traded", symbol, words)
        return (), ()
    return hours.trading, hours.liquid


def to_wire(facts: ContractFacts) -> Contract:
    """The contract as the broker takes it, routed smart."""
    return mapping.smart_stock(facts.symbol, int(facts.contract_id), facts.primary_exchange)
