"""The planned buys, cut to the cash that is really there."""

from decimal import ROUND_FLOOR, Decimal

from calculator.commissions import charge_by
from calculator.fixed_point import MICRO, to_micro, value_of
from calculator.holdings import Line
from calculator.objective import Money, Objective, State
from calculator.plan_types import Plan, PlanLine, Trade
from calculator.sizing import solve


def fit_buys(plan: Plan, cash_usd: Decimal) -> tuple[Trade, ...]:
    """The planned buys if they fit cash less the floor, at their limits with commission; else the best smaller set.

    A shortage is spread in proportion to the targets; single shares are then added as the money is best spent. No
    symbol is added, no planned quantity exceeded, no target read again.
    """
    floor = to_micro(plan.floor_usd)
    money = Money(
        total=to_micro(plan.total_value_usd),
        cash=int((cash_usd * MICRO).to_integral_value(ROUND_FLOOR)),
        floor=floor,
        cash_target=floor,
    )
    lines = [_line(line) for line in plan.buys]
    held = [line.whole_held for line in lines]
    planned = [n + buy.quantity for n, buy in zip(held, plan.buys, strict=True)]
    valuation = Objective(lines, held, planned, money, charge_by(plan.commission))
    if valuation.is_feasible(valuation.state(valuation.most)):
        return plan.buys
    fitted = _payable(valuation, solve(valuation))
    bought = [n - line.whole_held for n, line in zip(fitted.shares, lines, strict=True)]
    return tuple(buy.as_trade(n) for buy, n in zip(plan.buys, bought, strict=True) if n)


def _line(buy: PlanLine) -> Line:
    mark = to_micro(buy.mark_usd)
    return Line(
        symbol=buy.symbol,
        held=buy.held,
        weight=Decimal(0),  # the plan has its target in money
        is_target=True,
        mark=mark,
        bid=0,  # nothing is sold any more
        ask=to_micro(buy.quote_usd),
        buy_limit=to_micro(buy.price),
        sell_limit=0,
        tradable=True,
        value=value_of(buy.held, mark),
        target=to_micro(buy.target_value_usd),
        whole_held=max(0, int(buy.held)),
    )


def _payable(valuation: Objective, fitted: State) -> State:
    """The state, or nothing at all: what cannot be paid is not bought."""
    return fitted if valuation.is_feasible(fitted) else valuation.state(valuation.least)
