"""Whole shares for the free targets: near the targets, affordable at the limits, one direction a symbol.

A start from rounded wishes is improved by single steps and by exchanges between two symbols until none helps. The
L1 error and every cost are whole micro-dollars, so nothing depends on rounding or on the order of rows.
"""

from dataclasses import dataclass

from calculator.commissions import CommissionTable
from calculator.holdings import Holdings, Line

EXCHANGE_LIMIT = 80
"""Up to so many symbols, exchanges between each two are tried."""
MAX_ROUNDS = 400


@dataclass(frozen=True)
class Money:
    """Cash that the fixed part of the plan brings: at quotes, and in the worst case at limits."""

    cash: int
    floor: int
    cash_target: int


class Sizing:
    """Searches whole shares for each line."""

    def __init__(self, holdings: Holdings, lines: list[Line], least: dict[str, int], money: Money) -> None:
        self._lines = lines
        self._least = [least[line.symbol] for line in lines]
        self._table = CommissionTable(holdings.config.commission)
        self._money = money
        self.shares = [line.whole_held for line in lines]

    def run(self) -> list[int]:
        """Final whole shares of each line, in their order."""
        self._start()
        self._make_affordable()
        self._improve()
        return self.shares

    # ---- what a choice costs and brings

    def _cash_flow(self, i: int, shares: int, *, worst: bool) -> int:
        """Cash that line i brings (negative: costs) when it ends with so many shares."""
        line = self._lines[i]
        moved = shares - line.whole_held
        if moved > 0:
            price = line.buy_limit if worst else line.ask
            return -(moved * price + self._table.of(moved, price))
        return -moved * line.bid - self._table.of(-moved, line.bid)

    def _cost(self, i: int, shares: int) -> int:
        """Half spread and commission of what line i trades."""
        line = self._lines[i]
        moved = shares - line.whole_held
        price = line.ask if moved > 0 else line.bid
        return abs(moved) * abs(price - line.mark) + self._table.of(abs(moved), price)

    def _cash(self, *, worst: bool) -> int:
        return self._money.cash + sum(self._cash_flow(i, n, worst=worst) for i, n in enumerate(self.shares))

    def _buys_anything(self) -> bool:
        return any(n > line.whole_held for n, line in zip(self.shares, self._lines, strict=True))

    # ---- the start

    def _start(self) -> None:
        for i, line in enumerate(self._lines):
            wish = line.whole_held + (line.target - line.value) // line.mark  # floor of the real-valued wish
            self.shares[i] = max(self._least[i], self._wish_up(line, wish))

    @staticmethod
    def _wish_up(line: Line, wish: int) -> int:
        """The nearer of a wish and one share more."""
        return wish + 1 if line.miss_at(wish + 1) < line.miss_at(wish) else wish

    def _make_affordable(self) -> None:
        """Spreads a shortage over the buys in proportion to the targets, by bisecting one factor for all."""
        if not self._buys_anything() or self._cash(worst=True) >= self._money.floor:
            return
        wishes = list(self.shares)
        low, high = 0, 1 << 20  # the factor, in 2**-20
        while high - low > 1:
            factor = (low + high) // 2
            self._scale(wishes, factor)
            if self._cash(worst=True) >= self._money.floor:
                low = factor
            else:
                high = factor
        self._scale(wishes, low)
        self._drop_until_affordable()

    def _scale(self, wishes: list[int], factor: int) -> None:
        for i, line in enumerate(self._lines):
            if wishes[i] > line.whole_held:
                target = ((line.target * factor) >> 20) - (line.value - line.whole_held * line.mark)
                scaled = max(line.whole_held, target // line.mark)
                self.shares[i] = max(min(wishes[i], scaled), min(self._least[i], wishes[i]))

    def _drop_until_affordable(self) -> None:
        """Gives up buys, the smallest targets first, while the floor does not hold."""
        for i in sorted(range(len(self._lines)), key=lambda i: (self._lines[i].target, self._lines[i].symbol)):
            if self._cash(worst=True) >= self._money.floor:
                return
            self.shares[i] = min(self.shares[i], self._lines[i].whole_held)

    # ---- the improvement

    def _improve(self) -> None:
        worst, cash = self._cash(worst=True), self._cash(worst=False)
        for _ in range(MAX_ROUNDS):
            step = self._best_step(worst, cash)
            if step is None:
                return
            for i, shares in step:
                worst += self._cash_flow(i, shares, worst=True) - self._cash_flow(i, self.shares[i], worst=True)
                cash += self._cash_flow(i, shares, worst=False) - self._cash_flow(i, self.shares[i], worst=False)
                self.shares[i] = shares

    def _best_step(self, worst: int, cash: int) -> list[tuple[int, int]] | None:
        """The single step or exchange that helps most and can be paid; None when none helps."""
        moves = self._single_moves()
        buys = self._buy_counts()
        best, best_gain = None, 0
        pool = [*moves] if len(self._lines) <= EXCHANGE_LIMIT else []
        for a, move in enumerate(moves):
            for partner in (None, *pool[a + 1 :]):
                if partner is not None and partner.line == move.line:
                    continue
                gain = self._gain(move, partner, worst, cash, buys)
                if gain > best_gain:
                    best, best_gain = (move, partner), gain
        if best is None:
            return None
        return [(move.line, move.shares) for move in best if move is not None]

    def _buy_counts(self) -> int:
        return sum(n > line.whole_held for n, line in zip(self.shares, self._lines, strict=True))

    def _single_moves(self) -> list["_Move"]:
        moves = []
        for i, line in enumerate(self._lines):
            for shares in (self.shares[i] - 1, self.shares[i] + 1):
                if shares < self._least[i]:
                    continue
                moves.append(
                    _Move(
                        line=i,
                        shares=shares,
                        error=line.miss_at(shares)
                        - line.miss_at(self.shares[i])
                        + self._cost(i, shares)
                        - self._cost(i, self.shares[i]),
                        worst=self._cash_flow(i, shares, worst=True) - self._cash_flow(i, self.shares[i], worst=True),
                        cash=self._cash_flow(i, shares, worst=False) - self._cash_flow(i, self.shares[i], worst=False),
                        buys=(shares > line.whole_held) - (self.shares[i] > line.whole_held),
                    )
                )
        return moves

    def _gain(self, move: "_Move", partner: "_Move | None", worst: int, cash: int, buys: int) -> int:
        """By how much the error falls; zero or less when the step cannot be paid."""
        error, worst_after, cash_after, buys_after = (
            move.error,
            worst + move.worst,
            cash + move.cash,
            buys + move.buys,
        )
        if partner is not None:
            error += partner.error
            worst_after += partner.worst
            cash_after += partner.cash
            buys_after += partner.buys
        if buys_after and worst_after < self._money.floor:
            return 0
        target = self._money.cash_target
        return -(error + abs(cash_after - target) - abs(cash - target))


@dataclass(frozen=True)
class _Move:
    """One share more or less of one line, with all it changes."""

    line: int
    shares: int
    error: int
    worst: int
    cash: int
    buys: int
