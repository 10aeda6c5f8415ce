"""Project an account after trades: cash, weights and L1 error."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from operator import sub

from calculator.fixed_point import EIGHT_PLACES, eight_place_fractions, fraction, from_micro, rounded
from calculator.holdings import Holdings
from calculator.plan_types import CASH, Projection

CENT = Decimal("0.01")


class Projector:
    """Compare the account before and after trades with its targets.

    Lists are in the order of the holdings' lines, followed by cash.
    """

    def __init__(self, holdings: Holdings) -> None:
        self._holdings = holdings
        self._symbols = [*[line.symbol for line in holdings.lines], CASH]
        self._not_wanted = [i for i, line in enumerate(holdings.lines) if not (line.is_target or line.target)]
        self._targets = [*[line.target for line in holdings.lines], holdings.cash_target]
        self._target_parts = eight_place_fractions(self._targets, holdings.total)

    @property
    def target_weights(self) -> dict[str, Decimal]:
        """Return the target weights by symbol, cash included."""
        return self._weights(self._target_parts, self._not_wanted)

    def after(self, quantities: Mapping[str, int], cash: int) -> tuple[Projection, Decimal]:
        """Return the account and its residual drift after trades.

        Args:
            quantities: signed shares by symbol.
            cash: cash after the trades, in micro-dollars.
        """
        total, lines = self._holdings.total, self._holdings.lines
        if quantities:
            values = [line.value + quantities.get(line.symbol, 0) * line.mark for line in lines]
        else:
            values = [line.value for line in lines]
        gone = [i for i in self._not_wanted if not values[i]]
        values.append(cash)
        parts = eight_place_fractions(values, total)
        projection = Projection.trusted(
            {
                "cash": rounded(from_micro(cash), CENT),
                "l1_error": fraction(sum(_distances(values, self._targets)), total),
                "weights": self._weights(parts, gone),
            }
        )
        return projection, rounded(EIGHT_PLACES * sum(_distances(parts, self._target_parts)) / 2, EIGHT_PLACES)

    def _weights(self, parts: Iterable[int], without: Iterable[int]) -> dict[str, Decimal]:
        weights = dict(zip(self._symbols, map(EIGHT_PLACES.__mul__, parts), strict=True))
        for i in without:
            del weights[self._symbols[i]]
        return weights


def residual_drift(weights: Mapping[str, Decimal], targets: Mapping[str, Decimal]) -> Decimal:
    """Return half the sum of absolute drifts, cash included."""
    nothing = Decimal(0)
    drifts = [abs(weight - targets.get(symbol, nothing)) for symbol, weight in weights.items()]
    drifts += [abs(target) for symbol, target in targets.items() if symbol not in weights]
    return rounded(sum(drifts, nothing) / 2, EIGHT_PLACES)


def _distances(values: Iterable[int], targets: Iterable[int]) -> Iterable[int]:
    return map(abs, map(sub, values, targets))
