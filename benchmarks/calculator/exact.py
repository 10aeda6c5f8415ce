"""The exact optimum of the sizing problem, by mixed-integer programming (HiGHS through scipy)."""

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import coo_matrix

from calculator.holdings import Holdings
from calculator.outlook import cash_after
from calculator.selection import Selection

USD = 1e6


def optimum(holdings: Holdings, selection: Selection, seconds: float = 20) -> dict[str, int] | None:
    """The best signed shares of the free targets and the liquidations, under the rules of the plan.

    Returns:
        Signed shares by symbol, or None when the solver ran out of time.
    """
    lines = selection.free
    n = len(lines)
    fixed = {symbol: -shares for symbol, shares in selection.liquidate.items()}
    cash = cash_after(holdings, fixed, worst=False) / USD
    commission = holdings.config.commission
    rate = float(commission.rate) if commission.kind == "rate" else 0.0
    per_share = 0.0 if commission.kind == "rate" else float(commission.per_share)
    fee = 0.0 if commission.kind == "rate" else float(commission.min_per_order)
    bid, ask, limit, mark = (
        np.array([getattr(line, name) for line in lines]) / USD for name in ("bid", "ask", "buy_limit", "mark")
    )
    most_sold = np.array([max(0, line.whole_held - selection.least[line.symbol]) for line in lines], dtype=float)
    budget = max(cash + float((most_sold * bid).sum()) - holdings.floor / USD, 0)
    most_bought = np.floor(np.where(limit > 0, budget / limit, 0))
    least_bought = np.array([max(0, selection.least[line.symbol] - line.whole_held) for line in lines], dtype=float)
    cap = 0.0 if commission.kind == "rate" else float(commission.max_rate)
    # Variables: buys, sells, buy fees, sell fees, is bought, is sold, misses, buy fee is capped, sell fee is capped,
    # cash miss, anything bought.
    names = ("b", "s", "fb", "fs", "yb", "ys", "d", "zb", "zs")
    at = {name: k * n for k, name in enumerate(names)}
    size = len(names) * n + 2
    cash_miss, any_buy = size - 2, size - 1
    cost = np.zeros(size)
    cost[at["b"] : at["b"] + n] = (ask - mark) + rate * ask
    cost[at["s"] : at["s"] + n] = (mark - bid) + rate * bid
    cost[at["fb"] : at["fb"] + n] = cost[at["fs"] : at["fs"] + n] = 1
    cost[at["d"] : at["d"] + n] = 1
    cost[cash_miss] = 1
    rows, columns, values, low, high = [], [], [], [], []

    def constrain(terms: list[tuple[int, float]], at_least: float = -np.inf, at_most: float = np.inf) -> None:
        for column, value in terms:
            rows.append(len(low))
            columns.append(column)
            values.append(value)
        low.append(at_least)
        high.append(at_most)

    for i, line in enumerate(lines):
        b, s, fb, fs, yb, ys, d, zb, zs = (at[name] + i for name in names)
        off = (line.value - line.target) / USD
        constrain([(d, 1), (b, -mark[i]), (s, mark[i])], at_least=off)
        constrain([(d, 1), (b, mark[i]), (s, -mark[i])], at_least=-off)
        constrain([(b, 1), (yb, -max(most_bought[i], least_bought[i]))], at_most=0)
        constrain([(s, 1), (ys, -most_sold[i])], at_most=0)
        constrain([(yb, 1), (ys, 1)], at_most=1)
        constrain([(yb, 1), (any_buy, -1)], at_most=0)
        sides = ((b, fb, yb, zb, ask[i], max(most_bought[i], least_bought[i])), (s, fs, ys, zs, bid[i], most_sold[i]))
        for shares, paid, moved, capped, price, most in sides if cap else ():
            # The least fee, unless the share of the value that caps it is less; at our prices that is above `per_share`.
            constrain([(paid, 1), (shares, -per_share)], at_least=0)
            constrain([(paid, 1), (moved, -fee), (capped, fee)], at_least=0)
            all_of_it = cap * price * most
            constrain([(paid, 1), (shares, -cap * price), (capped, -all_of_it)], at_least=-all_of_it)
    flow = [(at["b"] + i, -ask[i] * (1 + rate)) for i in range(n)] + [
        (at["s"] + i, bid[i] * (1 - rate)) for i in range(n)
    ]
    flow += [(at[name] + i, -1.0) for name in ("fb", "fs") for i in range(n)]
    off = cash - holdings.cash_target / USD
    constrain([(cash_miss, 1)] + [(c, -v) for c, v in flow], at_least=off)
    constrain([(cash_miss, 1), *flow], at_least=-off)
    worst = [(at["b"] + i, -limit[i] * (1 + rate)) for i in range(n)] + flow[n:]
    big = float((most_sold * bid).sum()) + abs(cash) + holdings.floor / USD + 10 * fee * n + 1
    constrain([*worst, (any_buy, -big)], at_least=holdings.floor / USD - cash - big)
    upper = np.full(size, np.inf)
    upper[at["b"] : at["b"] + n] = np.maximum(most_bought, least_bought)
    upper[at["s"] : at["s"] + n] = most_sold
    upper[at["yb"] : at["yb"] + 2 * n] = upper[at["zb"] : at["zb"] + 2 * n] = 1
    upper[any_buy] = 1
    lower = np.zeros(size)
    lower[at["b"] : at["b"] + n] = least_bought
    whole = np.zeros(size)
    for name in ("b", "s", "yb", "ys", "zb", "zs"):
        whole[at[name] : at[name] + n] = 1
    whole[any_buy] = 1
    matrix = coo_matrix((values, (rows, columns)), shape=(len(low), size)).tocsr()
    answer = milp(
        cost,
        constraints=LinearConstraint(matrix, low, high),
        integrality=whole,
        bounds=Bounds(lower, upper),
        options={"time_limit": seconds, "mip_rel_gap": 1e-5},
    )
    if answer.x is None or answer.status != 0:
        return None
    moved = {line.symbol: round(answer.x[at["b"] + i]) - round(answer.x[at["s"] + i]) for i, line in enumerate(lines)}
    return {**fixed, **{symbol: shares for symbol, shares in moved.items() if shares}}


def is_feasible(holdings: Holdings, selection: Selection, moved: dict[str, int]) -> bool:
    """Whether the trades keep every rule of the plan."""
    by_symbol = {line.symbol: line for line in holdings.lines}
    if any(-shares > by_symbol[symbol].whole_held for symbol, shares in moved.items()):
        return False
    if any(by_symbol[symbol].whole_held + moved.get(symbol, 0) < least for symbol, least in selection.least.items()):
        return False
    buys = any(shares > 0 for shares in moved.values())
    return not buys or cash_after(holdings, moved, worst=True) >= holdings.floor
