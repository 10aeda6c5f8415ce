"""The streamed quote of one symbol."""

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal

from brokers.broker_types import ContractFacts, ContractPrice, PriceKind
from brokers.ibkr import mapping

SIDES = {1: "bid", 66: "bid", 2: "ask", 67: "ask", 4: "last", 68: "last", 9: "close", 75: "close"}
DELAYED_PRICES = frozenset({66, 67, 68, 75})
VOLUME = frozenset({8, 74})
HALTED = frozenset({49, 90})
"""Tick types; the second of each pair is the delayed one. Source: the tick types of the TWS API."""


@dataclass
class QuoteStream:
    """Everything that was received for one symbol."""

    facts: ContractFacts
    sides: dict[str, Decimal | None] = field(default_factory=dict)
    volume: Decimal | None = None
    is_halted: bool | None = None
    kind: PriceKind = PriceKind.LIVE
    as_of: datetime | None = None
    message: str = ""
    refused: bool = False
    has_line: bool = True
    line_message: str = ""  # why there was no market data line or farm, until the first tick
    updated: asyncio.Event = field(default_factory=asyncio.Event)
    waiters: int = 0  # an incomplete stream with waiters is not closed

    @property
    def is_complete(self) -> bool:
        """Whether both sides have arrived, or the broker refused the quote."""
        return self.refused or self.mid() is not None

    @property
    def needs_line(self) -> bool:
        """Whether the stream waits for a market data line."""
        return not self.has_line and not self.is_complete

    def is_fresh(self, max_age_seconds: float) -> bool:
        """Return whether the quote can be used again."""
        if self.as_of is None or self.refused or not self.is_complete:
            return False
        return (datetime.now(UTC) - self.as_of).total_seconds() < max_age_seconds

    def copy(self, price: ContractPrice) -> None:
        """Use the quote that another client of the login has just received."""
        self.sides = {"bid": price.bid, "ask": price.ask, "last": price.last, "close": price.close}
        self.volume, self.is_halted = price.volume, price.is_halted
        self.kind, self.as_of, self.message, self.line_message = price.kind, price.as_of, price.message, ""
        self.updated.set()

    def on_tick(self, tick_type: int, value: float) -> None:
        """Process a price, the volume or the trading status; ignore other ticks."""
        if tick_type in VOLUME:
            self.volume = mapping.exact(value)
        elif tick_type in HALTED:
            self.is_halted = value > 0 if value >= 0 else None  # -1: not available, 1 and 2: halted
        elif side := SIDES.get(tick_type):
            self.line_message = ""
            self.sides[side] = mapping.price(value)  # -1 and NaN are not prices
            self.as_of = datetime.now(UTC)
            if tick_type in DELAYED_PRICES:
                self.kind = PriceKind.DELAYED
            self.updated.set()

    def mid(self) -> Decimal | None:
        """Return the middle of bid and ask, if both have arrived."""
        bid, ask = self.sides.get("bid"), self.sides.get("ask")
        return (bid + ask) / 2 if bid is not None and ask is not None else None

    def price(self) -> ContractPrice | None:
        """Return the quote, with the broker's message if there is one; None if nothing was received."""
        message = self.message or self.line_message
        if self.as_of is None and not message:
            return None
        return ContractPrice(
            symbol=self.facts.symbol,
            **self.sides,
            as_of=self.as_of or datetime.now(UTC),
            kind=self.kind,
            tick_usd=mapping.tick_at(self.facts.tick_steps, self.sides.get("bid") or Decimal(0)),
            volume=self.volume,
            is_halted=self.is_halted,
            message=message,
        )
