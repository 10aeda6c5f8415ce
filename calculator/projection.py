"""Cash, weights and L1 error of an account that ends with certain shares."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from operator import sub

from calculator.fixed_point import EIGHT_PLACES, fraction, from_micro, hundred_millionths, plain
from calculator.holdings import Holdings
from calculator.plan_types import Projection

CASH = "CASH"
CENT = Decimal("0.01")


class Projector:
    """The account as it is, and as it would be after trades, beside what is wanted.

    Lists run by the holdings' lines, and end with cash.
    """

    def __init__(self, holdings: Holdings) -> None:
        self._holdings = holdings
        self._symbols = [*[line.symbol for line in holdings.lines], CASH]
        self._not_wanted = [i for i, line in enumerate(holdings.lines) if not line.is_target]
        self._targets = [*[line.target for line in holdings.lines], holdings.cash_target]
        self._target_parts = hundred_millionths(self._targets, holdings.total)

    @property
    def target_weights(self) -> dict[str, Decimal]:
        """What is wanted, by symbol, cash included."""
        return self._weights(self._target_parts, self._not_wanted)

    def after(self, moved: Mapping[str, int], cash: int) -> tuple[Projection, Decimal]:
        """The account and its residual drift once so many signed shares of each symbol are traded.

        Args:
            moved: signed shares by symbol.
            cash: what there is then, in micro-dollars.
        """
        total, lines = self._holdings.total, self._holdings.lines
        if moved:
            values = [line.value + moved.get(line.symbol, 0) * line.mark for line in lines]
        else:
            values = [line.value for line in lines]
        gone = [i for i in self._not_wanted if not values[i]]
        values.append(cash)
        parts = hundred_millionths(values, total)
        outlook = Projection.trusted(
            {
                "cash": plain(from_micro(cash), CENT),
                "l1_error": fraction(sum(_distances(values, self._targets)), total),
                "weights": self._weights(parts, gone),
            }
        )
        return outlook, plain(EIGHT_PLACES * sum(_distances(parts, self._target_parts)) / 2, EIGHT_PLACES)

    def _weights(self, parts: Iterable[int], without: Iterable[int]) -> dict[str, Decimal]:
        weights = dict(zip(self._symbols, map(EIGHT_PLACES.__mul__, parts), strict=True))
        for i in without:
            del weights[self._symbols[i]]
        return weights


def residual_drift(weights: Mapping[str, Decimal], targets: Mapping[str, Decimal]) -> Decimal:
    """Half the sum of absolute drifts, cash included."""
    nothing = Decimal(0)
    drifts = [abs(weight - targets.get(symbol, nothing)) for symbol, weight in weights.items()]
    drifts += [abs(target) for symbol, target in targets.items() if symbol not in weights]
    return plain(sum(drifts, nothing) / 2, EIGHT_PLACES)


def _distances(values: Iterable[int], targets: Iterable[int]) -> Iterable[int]:
    return map(abs, map(sub, values, targets))
