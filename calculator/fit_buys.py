"""Reduce the planned buys to the cash that is available after the sells."""

from decimal import ROUND_FLOOR, Decimal

from calculator.commissions import charge_by
from calculator.fixed_point import MICRO, to_micro, value_of
from calculator.line import Line
from calculator.objective import Money, Objective
from calculator.plan_types import Plan, PlanLine, Trade
from calculator.sizing import Sizing, solve


def fit_buys(plan: Plan, cash_usd: Decimal) -> tuple[Trade, ...]:
    """Return the planned buys if cash less the floor pays for them at limit with commission, else the best smaller set.

    The search is that of the plan, with the planned quantities as bounds. No symbol is added, no planned quantity is
    exceeded, and targets are not read again.
    """
    money = Money(
        total=to_micro(plan.total_value_usd),
        cash=int((cash_usd * MICRO).to_integral_value(ROUND_FLOOR)),
        cash_floor=to_micro(plan.floor_usd),
        cash_target=to_micro(plan.floor_usd if plan.cash_target_usd is None else plan.cash_target_usd),
    )
    lines = [_line(line) for line in plan.buys]
    held = [line.whole_held for line in lines]
    planned = [n + buy.quantity for n, buy in zip(held, plan.buys, strict=True)]
    objective = Objective(lines, held, planned, money, charge_by(plan.commission))
    if objective.is_feasible(objective.state(objective.maximum)):
        return plan.buys
    proportional = min(objective.state(held), solve(objective), key=objective.rank)
    fitted = Sizing(objective, baseline=proportional).run()
    bought = [n - line.whole_held for n, line in zip(fitted.shares, lines, strict=True)]
    return tuple(buy.as_trade(n) for buy, n in zip(plan.buys, bought, strict=True) if n)


def _line(buy: PlanLine) -> Line:
    mark = to_micro(buy.mark_usd)
    return Line(
        symbol=buy.symbol,
        held=buy.held,
        weight=Decimal(0),  # unused: the plan has the target as a value
        is_target=True,
        mark=mark,
        bid=to_micro(buy.quote_usd),  # nothing is sold in this phase; any price above zero
        ask=to_micro(buy.quote_usd),
        buy_limit=to_micro(buy.price),
        sell_limit=0,
        tradable=True,
        value=value_of(buy.held, mark),
        target=to_micro(buy.target_value_usd),
        whole_held=max(0, int(buy.held)),
    )
