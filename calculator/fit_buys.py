"""The planned buys, cut to the cash that is really there."""

from decimal import ROUND_FLOOR, Decimal

from calculator.commissions import CommissionTable
from calculator.money import MICRO, to_micro
from calculator.values import Plan, PlanLine, Trade


def fit_buys(plan: Plan, cash_usd: Decimal) -> tuple[Trade, ...]:
    """The planned buys if they fit cash less the floor, at their limits with commission; else a smaller set.

    A shortage is spread in proportion; then single shares are added back, the largest remainder first. No symbol
    is added, no planned quantity exceeded, no target read again.
    """
    budget = int((cash_usd * MICRO).to_integral_value(ROUND_FLOOR)) - to_micro(plan.floor_usd)
    table = CommissionTable(plan.commission)
    planned = [line.quantity for line in plan.buys]
    if _cost(plan.buys, planned, table) <= budget:
        return plan.buys
    shares = _in_proportion(plan.buys, planned, table, budget)
    left = budget - _cost(plan.buys, shares, table)
    by_remainder = sorted(
        range(len(planned)),
        key=lambda i: (shares[i] / planned[i], -plan.buys[i].target_value_usd, plan.buys[i].symbol),
    )
    for i in by_remainder:
        while shares[i] < planned[i]:
            limit = to_micro(plan.buys[i].price)
            more = limit + table.of(shares[i] + 1, limit) - table.of(shares[i], limit)
            if more > left:
                break
            shares[i] += 1
            left -= more
    return tuple(line.as_trade(n) for line, n in zip(plan.buys, shares, strict=True) if n)


def _cost(lines: tuple[PlanLine, ...], shares: list[int], table: CommissionTable) -> int:
    """At limits with commission, in micro-dollars."""
    total = 0
    for line, n in zip(lines, shares, strict=True):
        limit = to_micro(line.price)
        total += n * limit + table.of(n, limit)
    return total


def _in_proportion(lines: tuple[PlanLine, ...], planned: list[int], table: CommissionTable, budget: int) -> list[int]:
    """The largest common share of all planned quantities that fits, by bisection."""
    low, high = 0, 1 << 20
    while high - low > 1:
        middle = (low + high) // 2
        if _cost(lines, [(n * middle) >> 20 for n in planned], table) <= budget:
            low = middle
        else:
            high = middle
    return [(n * low) >> 20 for n in planned]
