"""With a minimum improvement, trades go towards the targets, pay for their cost, and small accounts do not churn."""

import random
from decimal import Decimal

import pytest

from calculator import Commission, TradeCalculator
from tests.calculator.makers import account, config, executed, plan, quote, targets, traded

CENT = Decimal("0.01")


def three_expensive_and_one_lacking():
    """Each A is 0.3 of a share above its target, and B nine shares, 5.6 % of the account, below."""
    names = ("A1", "A2", "A3")
    state = account("0", *((name, "5", "1000") for name in names), ("B", "11", "100"))
    wanted = targets(**dict.fromkeys(names, "0.291925"), B="0.124224")
    return state, wanted, [*(quote(name, "1000") for name in names), quote("B", "100")]


@pytest.mark.parametrize(
    ("policy", "sold"),
    [
        ({"minimum_improvement_bps": "0", "band_percent": "2"}, 1),  # all of the rule is off
        ({"minimum_improvement_bps": "10", "band_percent": "2"}, 0),
        ({"minimum_improvement_bps": "10", "band_percent": "0.5"}, 1),  # B is far outside the band
    ],
)
def test_symbol_is_sold_below_its_target_only_for_what_is_far_outside_the_band(policy, sold):
    result = plan(*three_expensive_and_one_lacking(), **policy)
    assert sum(trade.reason == "makes_room" for trade in result.trades) == sold


@pytest.mark.parametrize(("rate", "least", "bought"), [("0.3", "10", True), ("0.5", "10", False), ("0.5", "0", True)])
def test_trade_that_gains_a_small_multiple_of_its_cost_is_not_made(rate, least, bought):
    """A share of $100 improves the account by $200 and costs $30 or $50: a trade must gain five times its cost."""
    result = plan(
        account("1000", ("A", "10", "100")),
        targets(A="0.55", B="0.45"),
        [quote("A", "100"), quote("B", "100")],
        commission=Commission(kind="rate", rate=Decimal(rate)),
        minimum_improvement_bps=least,
        one_share=False,
    )
    assert ("B" in traded(result)) is bought


def near_targets(shares, cash):
    """Twenty targets of $100 a share, each a fraction of a share away from its target."""
    names = [f"S{i:02d}" for i in range(20)]
    state = account(cash, *((name, shares, "100") for name in names))
    return state, targets(**dict.fromkeys(names, "0.05")), [quote(name, "100") for name in names]


def test_debit_is_repaid_though_every_symbol_is_within_half_a_share():
    result = plan(*near_targets("10", "-600"), band_percent="0.5", minimum_improvement_bps="10")
    assert sum(traded(result).values()) == -6


def test_idle_deposit_is_invested_though_every_symbol_is_within_half_a_share():
    result = plan(*near_targets("10", "800"), band_percent="0.25", minimum_improvement_bps="10")
    assert sum(traded(result).values()) == 8


def test_set_of_trades_below_the_minimum_improvement_is_explained():
    state = account("100", ("A", "99", "100"))
    result = plan(state, targets(A="1"), [quote("A", "100")], minimum_improvement_bps="250")
    assert [(item.symbol, item.reason) for item in result.not_traded] == [("A", "improvement_too_small")]


@pytest.mark.parametrize("size_usd", [5_000, 10_000, 25_000])
def test_small_account_does_not_churn_in_daily_runs(size_usd):
    """Over a hundred sessions at most a tenth of the orders move a symbol away from its own target."""
    rng = random.Random(size_usd)
    prices = {f"S{i:02d}": Decimal(round(20 * 1.3**i)) for i in range(14)}
    wanted = targets(**dict.fromkeys(prices, "0.0714"))
    policy = config(
        band_percent="0.5",
        buy_slippage_percent="0.5",
        min_cash_usd="100",
        commission=Commission(kind="per_share"),
        minimum_improvement_bps="10",
    )
    state, orders, away = account(size_usd), 0, 0
    for session in range(100):
        quotes = [quote(name, price - CENT, price + CENT) for name, price in prices.items()]
        result = TradeCalculator(policy).plan(state, wanted, quotes)
        if session:  # the first day invests the cash
            orders += len(result.trades)
            away += sum(_is_away(line) for line in (*result.plan.sells, *result.plan.buys))
        state = executed(state, result, quotes)
        prices = {
            name: (price * Decimal(str(1 + rng.gauss(0, 0.015)))).quantize(CENT) for name, price in prices.items()
        }
        state = executed(state, None, [quote(name, price) for name, price in prices.items()])
    assert away <= orders / 10


def _is_away(line):
    drift = line.held * line.mark_usd - line.target_value_usd
    return abs(drift + line.quantity * line.mark_usd) > abs(drift)
