"""The sizing problem of an account, implemented from the rules without the calculator's code.

Money, prices and quantities are decimals, in USD and shares.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from functools import cached_property

from benchmarks.calculator.generator import Case
from calculator import Commission, Quote

NOTHING = Decimal(0)
LEAST_WEIGHT = Decimal("0.0005")
"""Weight, as given, from which a target of less than half a share is promised one share."""


@dataclass(frozen=True)
class Symbol:
    """One symbol that is held or is a target; without a valid quote it has no bid and no ask.

    `weight` is the weight as given, and None for a symbol that is no target, also for a target of weight 0. `wanted` is the
    target value in USD, of weights that are scaled to 1 when they sum to more.
    """

    name: str
    held: Decimal
    weight: Decimal | None
    mark: Decimal
    bid: Decimal | None
    ask: Decimal | None
    buy_limit: Decimal
    sell_limit: Decimal
    wanted: Decimal

    @property
    def whole(self) -> int:
        """Number of whole shares that can be sold."""
        return int(self.held)

    @property
    def value(self) -> Decimal:
        """Value of the position at the mark, in USD."""
        return self.held * self.mark

    @property
    def drift(self) -> Decimal:
        """Value of the position minus its target value, in USD."""
        return self.value - self.wanted

    def drift_at(self, shares: int) -> Decimal:
        """Return the drift in USD with this many whole shares; a held fraction stays."""
        return self.drift + (shares - self.whole) * self.mark


class Problem:
    """What may be traded, what must be traded, and what it costs."""

    def __init__(self, case: Case) -> None:
        self.config = case.config
        self.cash = case.account.cash_usd
        self.total = case.account.total_value_usd
        self.floor = max(self.config.min_cash_usd, self.total * self.config.cash_reserve_percent / 100)
        held = {position.symbol: position for position in case.account.positions}
        given = {target.symbol: target.weight for target in case.targets if target.weight}
        scale = max(Decimal(1), sum(given.values()))
        quotes = {quote.symbol: quote for quote in case.quotes}
        self.symbols = {
            name: self._symbol(
                name,
                held[name].quantity if name in held else NOTHING,
                held[name].market_price if name in held else NOTHING,
                given.get(name),
                (given.get(name, NOTHING) / scale) * (self.total - self.floor),
                quotes.get(name),
            )
            for name in sorted(held.keys() | given.keys())
        }
        self.cash_wanted = self.total - sum(symbol.wanted for symbol in self.symbols.values())

    def _symbol(
        self,
        name: str,
        held: Decimal,
        mark: Decimal | None,
        weight: Decimal | None,
        wanted: Decimal,
        quote: Quote | None,
    ) -> Symbol:
        bid, ask = (quote.bid, quote.ask) if quote else (None, None)
        if bid is None or ask is None or not 0 < bid <= ask:
            return Symbol(name, held, weight, mark or NOTHING, None, None, NOTHING, NOTHING, wanted)
        up, down = 1 + self.config.buy_slippage_percent / 100, 1 - self.config.sell_slippage_percent / 100
        return Symbol(
            name,
            held,
            weight,
            (bid + ask) / 2,
            bid,
            ask,
            (ask * up / quote.tick_usd).to_integral_value(ROUND_CEILING) * quote.tick_usd,
            (bid * down / quote.tick_usd).to_integral_value(ROUND_FLOOR) * quote.tick_usd,
            wanted,
        )

    @cached_property
    def targets(self) -> list[Symbol]:
        """Targets with a valid quote."""
        return [symbol for symbol in self.symbols.values() if symbol.weight is not None and symbol.bid is not None]

    @cached_property
    def liquidations(self) -> dict[str, int]:
        """Signed quantities that sell the positions that are not targets."""
        return {
            symbol.name: -symbol.whole
            for symbol in self.symbols.values()
            if symbol.weight is None and symbol.bid is not None and symbol.whole
        }

    @cached_property
    def inside_band(self) -> set[str]:
        """Targets inside the band, which may get a first share only."""
        band = self.total * self.config.band_percent / 100
        inside = [symbol for symbol in self.targets if abs(symbol.drift) < band]
        lifted = abs(sum(symbol.drift for symbol in inside)) >= band or self.cash < 0
        return set() if lifted else {symbol.name for symbol in inside}

    @cached_property
    def largest_overshoot(self) -> Decimal:
        """Maximum drift in USD of a share that is promised, and of any buy."""
        return self.total * self.config.one_share_max_overshoot_percent / 100

    def is_promised(self, symbol: Symbol) -> bool:
        """Return whether a target keeps or gets one share: large enough, and not too far below the value of the share."""
        if not self.config.one_share or symbol.weight is None:
            return False
        is_large = 2 * symbol.wanted >= symbol.mark or symbol.weight >= LEAST_WEIGHT
        return is_large and symbol.drift_at(1) <= self.largest_overshoot

    def most(self, symbol: Symbol) -> int:
        """Return the largest number of whole shares that a buy may lead to; less than is held if even that is too much."""
        limit = self.largest_overshoot if self.config.one_share else symbol.mark / 2
        return symbol.whole + math.floor((limit - symbol.drift) / symbol.mark)

    @cached_property
    def outside_band(self) -> list[Symbol]:
        """Targets that the band does not freeze."""
        return [symbol for symbol in self.targets if symbol.name not in self.inside_band]

    @cached_property
    def money_for_first_shares(self) -> Decimal:
        """Cash above the floor in USD, with the proceeds of liquidations and of the shares above targets outside the band."""
        money = self.cash_after(self.liquidations, worst=False) - self.floor
        return money + sum(self.proceeds(self.symbols[name], -n) for name, n in self.natural_sells.items())

    @cached_property
    def natural_sells(self) -> dict[str, int]:
        """Signed quantities of the whole shares above the targets outside the band; promised targets keep one."""
        sells = {}
        for symbol in self.outside_band:
            shares = min(int(symbol.drift // symbol.mark), symbol.whole - self.is_promised(symbol))
            if shares > 0:
                sells[symbol.name] = -shares
        return sells

    @cached_property
    def first_shares(self) -> set[str]:
        """Promised targets without a whole share that get one, by weight, as far as the money reaches."""
        money, chosen = self.money_for_first_shares, set()
        missing = [symbol for symbol in self.targets if symbol.whole == 0 and self.is_promised(symbol)]
        for symbol in sorted(missing, key=lambda symbol: (-symbol.weight, symbol.name)):
            cost = symbol.buy_limit + self.commission(1, symbol.buy_limit)
            if cost <= money:
                chosen.add(symbol.name)
                money -= cost
        return chosen

    @cached_property
    def free(self) -> list[Symbol]:
        """Targets that may be traded."""
        return [
            symbol for symbol in self.targets if symbol.name not in self.inside_band or symbol.name in self.first_shares
        ]

    def least(self, symbol: Symbol) -> int:
        """Return the minimum number of whole shares of a free target under the rules."""
        return int(self.is_promised(symbol) and (symbol.whole >= 1 or symbol.name in self.first_shares))

    @cached_property
    def obligatory(self) -> dict[str, int]:
        """Signed quantities of the liquidations and first shares."""
        return self.liquidations | dict.fromkeys(self.first_shares, 1)

    def commission(self, shares: int, price: Decimal) -> Decimal:
        """Return the commission of an order in USD."""
        fee: Commission = self.config.commission
        if fee.kind == "rate":
            return fee.rate * shares * price
        return min(max(fee.min_per_order, fee.per_share * shares), fee.max_rate * shares * price)

    def proceeds(self, symbol: Symbol, shares: int) -> Decimal:
        """Return the proceeds of a sell at the bid in USD, after commission."""
        return shares * symbol.bid - self.commission(shares, symbol.bid)

    def cash_after(self, moved: Mapping[str, int], *, worst: bool) -> Decimal:
        """Return the cash after the trades in USD: at quotes, or (`worst`) with buys at their limits."""
        cash = self.cash
        for name, shares in moved.items():
            symbol = self.symbols[name]
            if shares < 0:
                cash += self.proceeds(symbol, -shares)
            else:
                price = symbol.buy_limit if worst else symbol.ask
                cash -= shares * price + self.commission(shares, price)
        return cash

    def distance(self, moved: Mapping[str, int]) -> Decimal:
        """Return the sum of the distances of all positions from their targets after the trades, in USD."""
        return sum(abs(symbol.drift + moved.get(name, 0) * symbol.mark) for name, symbol in self.symbols.items())

    def cost(self, moved: Mapping[str, int]) -> Decimal:
        """Return the half spreads and commissions of the trades in USD."""
        return sum((self._cost(self.symbols[name], shares) for name, shares in moved.items()), NOTHING)

    def _cost(self, symbol: Symbol, shares: int) -> Decimal:
        price = symbol.ask if shares > 0 else symbol.bid
        return abs(shares) * abs(price - symbol.mark) + self.commission(abs(shares), price)

    def error(self, moved: Mapping[str, int]) -> Decimal:
        """Return the objective in USD: distances from the targets, half spreads and commissions."""
        off = abs(self.cash_after(moved, worst=False) - self.cash_wanted)
        return off + self.distance(moved) + self.cost(moved)
