"""The sizing problem of an account, implemented from the rules without the calculator's code.

Money, prices and quantities are decimals, in USD and shares.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from functools import cached_property

from benchmarks.calculator.generator import Case
from calculator import Commission, Quote

NOTHING = Decimal(0)


@dataclass(frozen=True)
class Symbol:
    """One symbol that is held or is a target; without a valid quote it has no bid and no ask."""

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


class Problem:
    """What may be traded, what must be traded, and what it costs."""

    def __init__(self, case: Case) -> None:
        self.config = case.config
        self.cash = case.account.cash_usd
        self.total = case.account.total_value_usd
        self.floor = max(self.config.min_cash_usd, self.total * self.config.cash_reserve_percent / 100)
        held = {position.symbol: position for position in case.account.positions}
        weights = {target.symbol: target.weight for target in case.targets}
        quotes = {quote.symbol: quote for quote in case.quotes}
        self.symbols = {
            name: self._symbol(
                name,
                held[name].quantity if name in held else NOTHING,
                held[name].market_price if name in held else NOTHING,
                weights.get(name),
                quotes.get(name),
            )
            for name in sorted(held.keys() | weights.keys())
        }
        self.cash_wanted = self.total - sum(symbol.wanted for symbol in self.symbols.values())

    def _symbol(
        self, name: str, held: Decimal, mark: Decimal | None, weight: Decimal | None, quote: Quote | None
    ) -> Symbol:
        wanted = (weight or NOTHING) * (self.total - self.floor)
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
    def first_shares(self) -> set[str]:
        """Targets without a position that get one share, by weight, as far as present cash and certain proceeds reach."""
        if not self.config.one_share:
            return set()
        money = self.cash - self.floor
        for name, shares in self.liquidations.items():
            money += self.proceeds(self.symbols[name], -shares)
        for symbol in self.targets:
            if symbol.drift > 0:
                money += self.proceeds(symbol, min(int(symbol.drift // symbol.mark), max(0, symbol.whole - 1)))
        chosen = set()
        missing = [symbol for symbol in self.targets if symbol.whole == 0 and symbol.wanted > 0]
        for symbol in sorted(missing, key=lambda symbol: (-symbol.weight, symbol.name)):
            cost = symbol.buy_limit + self.commission(1, symbol.buy_limit)
            overshoot = symbol.drift + symbol.mark
            if cost <= money and overshoot * 100 <= self.total * self.config.one_share_max_overshoot_percent:
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
        keeps = self.config.one_share and symbol.wanted > 0
        return int(keeps and (symbol.whole >= 1 or symbol.name in self.first_shares))

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

    def error(self, moved: Mapping[str, int]) -> Decimal:
        """Return the objective in USD: distances from the targets, half spreads and commissions."""
        error = abs(self.cash_after(moved, worst=False) - self.cash_wanted)
        for symbol in self.symbols.values():
            shares = moved.get(symbol.name, 0)
            error += abs(symbol.value + shares * symbol.mark - symbol.wanted)
            if shares:
                price = symbol.ask if shares > 0 else symbol.bid
                error += abs(shares) * abs(price - symbol.mark) + self.commission(abs(shares), price)
        return error
