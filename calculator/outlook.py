"""Cash, weights and L1 error of an account that ends with certain shares."""

from collections.abc import Mapping
from decimal import Decimal
from operator import sub

from calculator.holdings import Holdings
from calculator.money import fraction, fractions, from_micro, plain
from calculator.values import Outlook

CASH = "CASH"
CENT = Decimal("0.01")
WEIGHT_PLACES = Decimal("0.00000001")


def outlook(holdings: Holdings, moved: Mapping[str, int], cash: int) -> Outlook:
    """The account after trading so many signed shares of each symbol, at quotes, with the cash (micro-dollars) then."""
    values, error = {}, abs(cash - holdings.cash_target)
    for line in holdings.lines:
        value = line.value + moved.get(line.symbol, 0) * line.mark
        error += abs(value - line.target)
        if value or line.is_target:
            values[line.symbol] = value
    values[CASH] = cash
    return Outlook.trusted(
        {
            "cash": plain(from_micro(cash), CENT),
            "l1_error": fraction(error, holdings.total),
            "weights": dict(zip(values, fractions(values.values(), holdings.total), strict=True)),
        }
    )


def residual_drift(weights: Mapping[str, Decimal], targets: Mapping[str, Decimal]) -> Decimal:
    """Half the sum of absolute drifts, cash included."""
    nothing = Decimal(0)
    wanted = [targets.get(symbol, nothing) for symbol in weights]
    drifts = sum(map(abs, map(sub, weights.values(), wanted)), nothing)
    drifts += sum([abs(target) for symbol, target in targets.items() if symbol not in weights], nothing)
    return plain(drifts / 2, WEIGHT_PLACES)
