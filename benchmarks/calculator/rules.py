"""Whether trades can be carried out, and whether a plan keeps every rule; judged without the calculator's code."""

from collections.abc import Mapping
from decimal import Decimal

from benchmarks.calculator.problem import Problem
from calculator import Trade, TradeCalculationResult, TradeCalculator

MICRO = Decimal("0.000001")
"""Commissions are rounded up to it, and the floor is rounded to it."""


def is_feasible(problem: Problem, moved: Mapping[str, int]) -> bool:
    """Whether nothing is sold that is not held, and the reserve holds if every buy fills at its limit."""
    if any(-shares > problem.symbols[name].whole for name, shares in moved.items()):
        return False
    buys = any(shares > 0 for shares in moved.values())
    return not buys or problem.cash_after(moved, worst=True) >= problem.floor - MICRO


def keeps_shares(problem: Problem, moved: Mapping[str, int]) -> bool:
    """Whether every target keeps, or gets, the one share that the rules promise."""
    return all(symbol.whole + moved.get(symbol.name, 0) >= problem.least(symbol) for symbol in problem.free)


def broken_rules(problem: Problem, result: TradeCalculationResult) -> list[str]:
    """Every rule that a plan breaks, in words."""
    moved = {trade.symbol: trade.quantity for trade in result.trades}
    rules = {
        "two orders of one symbol": len(moved) == len(result.trades),
        "sells what is not held, or spends the reserve": is_feasible(problem, moved),
        "a target is left without its share": keeps_shares(problem, moved),
        "what is no target is not sold down to its fraction": problem.liquidations.items() <= moved.items(),
        "a symbol is traded that is inside the band or has no quote": moved.keys() <= _may_move(problem),
        "an order of no shares, or not at its limit": all(_is_at_limit(problem, trade) for trade in result.trades),
        "a symbol is traded or left alone without a reason": _all_explained(problem, result),
        "at quoted fills other buys are made than were planned": _executes_as_planned(problem, result),
    }
    return [rule for rule, is_kept in rules.items() if not is_kept]


def _may_move(problem: Problem) -> set[str]:
    return {symbol.name for symbol in problem.free} | problem.liquidations.keys()


def _is_at_limit(problem: Problem, trade: Trade) -> bool:
    symbol = problem.symbols[trade.symbol]
    return trade.quantity != 0 and trade.price == (symbol.buy_limit if trade.quantity > 0 else symbol.sell_limit)


def _all_explained(problem: Problem, result: TradeCalculationResult) -> bool:
    rows = (*result.trades, *result.not_traded)
    return {row.symbol for row in rows if row.reason and row.detail} >= problem.symbols.keys()


def _executes_as_planned(problem: Problem, result: TradeCalculationResult) -> bool:
    sells = {trade.symbol: trade.quantity for trade in result.trades if trade.quantity < 0}
    fitted = TradeCalculator.fit_buys(result.plan, problem.cash_after(sells, worst=False))
    return [(buy.symbol, buy.quantity) for buy in fitted] == [(buy.symbol, buy.quantity) for buy in result.plan.buys]
