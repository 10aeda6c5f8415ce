"""Small accounts against every combination of shares near their targets."""

import itertools
import random
from decimal import ROUND_DOWN, Decimal

import pytest

from calculator import AccountConfig, Commission, TradeCalculator
from calculator.holdings import make_holdings
from calculator.outlook import cash_after, l1_with_cost
from calculator.selection import select
from tests.calculator.makers import account, quote, targets

REACH = 7
COMMISSIONS = (
    Commission(kind="rate", rate=Decimal(0)),
    Commission(kind="rate", rate=Decimal("0.01")),
    Commission(kind="per_share"),
)


def small_account(seed):
    """Three symbols of 20 to 400 dollars in an account of 2,000 to 8,000, short of cash or not."""
    rng = random.Random(seed)
    prices = {symbol: Decimal(rng.randint(2000, 40000)) / 100 for symbol in "ABC"}
    quotes = [quote(symbol, price - Decimal("0.02"), price + Decimal("0.02")) for symbol, price in prices.items()]
    held = {symbol: rng.randint(0, 9) for symbol in "ABC"}
    cash = Decimal(rng.choice([60, 500, 3000])) + rng.randint(0, 99)
    weights = [rng.randint(1, 9) for _ in "ABC"]
    share = Decimal(rng.choice(["1", "0.8"])) / sum(weights)
    config = AccountConfig(
        cash_reserve_percent=Decimal(rng.choice([0, 2])),
        band_percent=Decimal(0),
        commission=COMMISSIONS[seed % len(COMMISSIONS)],
        minimum_improvement_bps=Decimal(0),
        one_share=False,
    )
    wanted = {
        symbol: (share * weight).quantize(Decimal("0.0001"), ROUND_DOWN)
        for symbol, weight in zip("ABC", weights, strict=True)
    }
    positions = [(symbol, shares, prices[symbol]) for symbol, shares in held.items() if shares]
    return account(cash, *positions), targets(**wanted), quotes, config


def best_of_all(holdings, selection):
    """The least error of all combinations that the rules allow."""
    reach = []
    for line in selection.free:
        near = line.whole_held + (line.target - line.value) // line.mark
        reach.append(range(max(0, near - REACH), max(0, near + REACH) + 1))
    errors = []
    for shares in itertools.product(*reach):
        moved = {line.symbol: n - line.whole_held for line, n in zip(selection.free, shares, strict=True)}
        buys = any(n > 0 for n in moved.values())
        if not buys or cash_after(holdings, moved, worst=True) >= holdings.floor:
            errors.append(l1_with_cost(holdings, moved))
    return min(errors)


@pytest.mark.parametrize("seed", range(24))
def test_no_combination_of_shares_is_much_better(seed):
    state, wanted, quotes, config = small_account(seed)
    result = TradeCalculator(config).plan(state, wanted, quotes)
    holdings = make_holdings(state, wanted, quotes, config)
    moved = {trade.symbol: trade.quantity for trade in result.trades}
    assert l1_with_cost(holdings, moved) <= best_of_all(holdings, select(holdings)) * Decimal("1.01")
