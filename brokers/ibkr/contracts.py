"""Contracts of US stocks and ETFs by symbol, looked up once a day for all runs. A refused symbol has a reason."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from decimal import Decimal

from ib_async import Contract, ContractDetails, PriceIncrement
from ib_async.wrapper import RequestError

from brokers.base import TimedCache
from brokers.broker_types import ContractFacts
from brokers.exceptions import BrokerSilent
from brokers.ibkr import mapping
from brokers.ibkr.connection import GatewayConnection
from brokers.ibkr.contract_choice import ContractRefused, choose_contract, other_spelling
from brokers.ibkr.ib_client import IBClient
from brokers.ibkr.limits import Limits
from brokers.ibkr.trading_hours import liquid_hours

logger = logging.getLogger("rebalancer.brokers")

NO_SUCH_CONTRACT = 200
CONTROL_SYMBOL = "SPY"
"""A symbol that always has a contract: if it has none either, the answers about others prove nothing."""
MARKET_RULE_ATTEMPTS = 3
"""Requests for a market rule. If none is answered, the contract's minimum tick is used."""


class Contracts:
    """Contracts of US stocks and ETFs by symbol.

    `choices` are the contract ids that a user has chosen, by symbol.
    """

    def __init__(
        self,
        limits: Limits,
        connection: GatewayConnection,
        cache: TimedCache[ContractFacts],
        choices: Mapping[str, str],
    ) -> None:
        self._limits = limits
        self._connection = connection
        self._cache = cache
        self._choices = choices
        self._known: dict[str, ContractFacts] = {}
        self._refusals: dict[str, str] = {}
        self._market_rules: dict[int, list[PriceIncrement]] = {}
        self._rules_lock = asyncio.Lock()
        self._lookup_lock = asyncio.Lock()

    async def of(self, symbols: Sequence[str]) -> dict[str, ContractFacts]:
        """Return the contracts by symbol, without symbols that have none to trade; see `refusal`.

        Raises:
            BrokerSilent: The broker finds no contract of any symbol, which proves nothing about one of them.
        """
        if any(symbol not in self._known for symbol in symbols):
            async with self._lookup_lock:  # accounts of one event request the same symbols at the same time
                await self._load([symbol for symbol in dict.fromkeys(symbols) if symbol not in self._known])
        return {symbol: self._known[symbol] for symbol in symbols if symbol in self._known}

    async def traded_ids(self, symbols: Sequence[str]) -> dict[str, str]:
        """Return the ids of the contracts that orders trade, by symbol. A refused symbol is not looked up again."""
        known = await self.of([symbol for symbol in symbols if symbol not in self._refusals])
        return {symbol: facts.contract_id for symbol, facts in known.items()}

    def refusal(self, symbol: str) -> str:
        """Return why the symbol has no contract to trade; empty if it has one, or was not looked up."""
        return self._refusals.get(symbol, "")

    # ---- lookups

    async def _load(self, symbols: Sequence[str]) -> None:
        for symbol, facts in (await self._cache.get(symbols)).items():
            if self._choices.get(symbol, "") == (facts.contract_id if facts.is_chosen else ""):
                self._known[symbol] = facts  # else the choice has changed since it was stored
        details = await self._details([symbol for symbol in symbols if symbol not in self._known])
        found = await asyncio.gather(*(self._choose(symbol, some) for symbol, some in details.items()))
        fresh = {facts.symbol: facts for facts in found if facts is not None}
        self._known.update(fresh)
        for symbol in fresh:
            self._refusals.pop(symbol, None)
        if fresh:
            await self._cache.put(fresh)

    async def _details(self, symbols: Sequence[str]) -> dict[str, list[ContractDetails]]:
        """Return all contracts by symbol. Symbols without one are requested again while that proves nothing."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._limits.max_definitions_wait_seconds
        found, was_answered = await self._request_all(symbols), False
        while missing := [symbol for symbol in symbols if not found[symbol]]:
            is_answered = await self._is_answered()
            if was_answered and is_answered:
                break  # requested between two answers about a contract that exists: proof
            was_answered = is_answered
            if not is_answered and loop.time() >= deadline:
                raise BrokerSilent(
                    f"The broker finds no contract at all now, also not of {', '.join(missing)}. Its security "
                    "definitions are away, usually for seconds. Try again."
                )
            if not is_answered:
                # Their return is not always announced (2158).
                await asyncio.sleep(self._limits.definitions_retry_seconds)
            found |= await self._request_all(missing)
        return found

    async def _is_answered(self) -> bool:
        """Return whether the broker finds a contract that exists, so that its security definitions are there."""
        return bool(await self._request(next(iter(self._known), CONTROL_SYMBOL)))

    async def _request_all(self, symbols: Sequence[str]) -> dict[str, list[ContractDetails]]:
        return dict(zip(symbols, await asyncio.gather(*map(self._request, symbols)), strict=True))

    async def _request(self, symbol: str) -> list[ContractDetails]:
        async def send(ib: IBClient) -> list[ContractDetails]:
            try:
                return await ib.reqContractDetailsAsync(mapping.smart_stock(symbol))
            except RequestError as error:
                if error.code == NO_SUCH_CONTRACT:
                    return []
                raise

        return await self._connection.request(f"the contract of {symbol}", send)

    async def _choose(self, symbol: str, details: Sequence[ContractDetails]) -> ContractFacts | None:
        """Return the contract to trade; None after its refusal was stored."""
        try:
            chosen = choose_contract(symbol, details, self._choices.get(symbol, ""))
        except ContractRefused as refusal:
            reason = refusal.reason
            if not details and (spelling := other_spelling(symbol)) and await self._request(spelling):
                reason = f"the symbol is written {spelling} here"
            logger.warning("The broker has no contract to trade for the symbol %s: %s", symbol, reason)
            self._refusals[symbol] = reason
            return None
        return await self._facts(symbol, chosen)

    async def _facts(self, symbol: str, details: ContractDetails) -> ContractFacts:
        try:
            hours = liquid_hours(details)
        except ValueError as error:
            logger.warning("The trading hours of %s cannot be read (%s); only the calendar is used", symbol, error)
            hours = ()
        contract = details.contract or Contract()
        return ContractFacts(
            symbol=symbol,
            contract_id=str(contract.conId),
            primary_exchange=contract.primaryExchange,
            is_chosen=symbol in self._choices,
            tick_steps=await self._tick_steps(details),
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
