"""Check whether trades can be executed and whether a plan follows every rule, without the calculator's code."""

from collections.abc import Mapping
from decimal import Decimal

from benchmarks.calculator.problem import Problem
from calculator import Trade, TradeCalculationResult, TradeCalculator

MICRO = Decimal("0.000001")
"""Rounding unit in USD: commissions are rounded up to it, and the cash floor is rounded to it."""


def is_feasible(problem: Problem, moved: Mapping[str, int]) -> bool:
    """Return whether only held shares are sold and cash stays above the floor if every buy fills at its limit."""
    if any(-shares > problem.symbols[name].whole for name, shares in moved.items()):
        return False
    buys = any(shares > 0 for shares in moved.values())
    return not buys or problem.cash_after(moved, worst=True) >= problem.floor - MICRO


def keeps_shares(problem: Problem, moved: Mapping[str, int]) -> bool:
    """Return whether every target keeps or gets the one share that the rules guarantee."""
    return all(symbol.whole + moved.get(symbol.name, 0) >= problem.least(symbol) for symbol in problem.free)


def broken_rules(problem: Problem, result: TradeCalculationResult) -> list[str]:
    """Return a description of every rule that a plan breaks."""
    moved = {trade.symbol: trade.quantity for trade in result.trades}
    rules = {
        "two orders for one symbol": len(moved) == len(result.trades),
        "sells more than is held, or spends the reserve": is_feasible(problem, moved),
        "a target does not keep its one share": keeps_shares(problem, moved),
        "a position that is not a target is not sold down to its fraction": problem.liquidations.items()
        <= moved.items(),
        "a traded symbol is inside the band or has no quote": moved.keys() <= _may_move(problem),
        "a buy ends too far above its target": not overshooting(problem, moved),
        "the account is worse off than without the trades": not makes_worse(problem, moved),
        "an order has no shares or another price than its limit": all(
            _is_at_limit(problem, trade) for trade in result.trades
        ),
        "a symbol has no reason for being traded or not traded": _all_explained(problem, result),
        "fills at the quotes lead to other buys than planned": _executes_as_planned(problem, result),
    }
    return [rule for rule, is_followed in rules.items() if not is_followed]


def overshooting(problem: Problem, moved: Mapping[str, int]) -> set[str]:
    """Return the symbols whose buy ends further above the target than any buy may."""
    symbols = {name: problem.symbols[name] for name, shares in moved.items() if shares > 0}
    return {name for name, symbol in symbols.items() if symbol.whole + moved[name] > problem.most(symbol)}


def makes_worse(problem: Problem, moved: Mapping[str, int]) -> bool:
    """Return whether the error, costs included, is larger than with the trades that the rules demand in any case.

    These are the liquidations and the first shares, and the sells above target if only they pay for the first shares.
    Without any of them, the error is compared with that of the account as it is.
    """
    least = problem.obligatory
    if not is_feasible(problem, least):
        least = problem.natural_sells | least
    return problem.error(moved) > problem.error(least) + MICRO * len(problem.symbols)


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
