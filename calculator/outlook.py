"""Cash, weights and L1 error of an account that ends with certain shares."""

from collections.abc import Mapping
from decimal import Decimal

from calculator.commissions import CommissionTable
from calculator.holdings import Holdings
from calculator.money import fraction, from_micro, plain
from calculator.values import Outlook

CASH = "CASH"
CENT = Decimal("0.01")
WEIGHT_PLACES = Decimal("0.00000001")


def cash_after(holdings: Holdings, moved: Mapping[str, int], *, worst: bool) -> int:
    """Cash after the trades, in micro-dollars: at quotes, or in the worst case, with buys at their limits."""
    table = CommissionTable(holdings.config.commission)
    cash = holdings.cash
    for line in holdings.lines if moved else ():
        if shares := moved.get(line.symbol):
            price = line.bid if shares < 0 else line.buy_limit if worst else line.ask
            cash -= shares * price + table.of(abs(shares), price)
    return cash


def l1_with_cost(holdings: Holdings, moved: Mapping[str, int]) -> int:
    """What the sizing minimises, in micro-dollars: distances from all targets and from the cash target, and costs."""
    table = CommissionTable(holdings.config.commission)
    error = abs(cash_after(holdings, moved, worst=False) - holdings.cash_target)
    for line in holdings.lines:
        if shares := moved.get(line.symbol):
            price = line.ask if shares > 0 else line.bid
            error += line.miss_at(line.whole_held + shares)
            error += shares * (price - line.mark) + table.of(abs(shares), price)
        else:
            error += abs(line.value - line.target)
    return error


def outlook(holdings: Holdings, moved: Mapping[str, int], cash: int) -> Outlook:
    """The account after trading so many signed shares of each symbol, at quotes, with the cash (micro-dollars) then."""
    weights: dict[str, Decimal] = {}
    error = abs(cash - holdings.cash_target)
    for line in holdings.lines:
        value = line.value + moved.get(line.symbol, 0) * line.mark
        error += abs(value - line.target)
        if value or line.is_target:
            weights[line.symbol] = fraction(value, holdings.total)
    weights[CASH] = fraction(cash, holdings.total)
    return Outlook(
        cash=plain(from_micro(cash), CENT),
        l1_error=fraction(error, holdings.total),
        weights=weights,
    )


def residual_drift(weights: Mapping[str, Decimal], targets: Mapping[str, Decimal]) -> Decimal:
    """Half the sum of absolute drifts, cash included."""
    nothing = Decimal(0)
    drifts = [abs(weight - targets.get(symbol, nothing)) for symbol, weight in weights.items()]
    drifts += [abs(target) for symbol, target in targets.items() if symbol not in weights]
    return plain(sum(drifts, nothing) / 2, WEIGHT_PLACES)
