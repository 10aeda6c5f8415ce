"""Small accounts against every combination of shares near their targets."""

import itertools
import random
from decimal import ROUND_DOWN, Decimal

import pytest

from calculator import AccountConfig, Commission, TradeCalculator
from calculator.holdings import make_holdings
from calculator.objective import Money, Objective
from calculator.selection import select
from calculator.validation import quotes_by_symbol, weights_by_symbol
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


def valued(state, wanted, quotes, config):
    """The targets of an account in which everything is one, with what their shares add up to."""
    holdings = make_holdings(state, weights_by_symbol(wanted), quotes_by_symbol(quotes), config)
    selection = select(holdings)
    free = selection.free
    money = Money(holdings.total, holdings.cash, holdings.cash_floor, holdings.cash_target)
    return Objective(free, [0] * len(free), selection.maximum, money, holdings.charge)


def best_of_all(objective):
    """The least error of all combinations that the rules allow."""
    reach = []
    for line, most in zip(objective.lines, objective.maximum, strict=True):
        near = line.whole_within(line.target)
        reach.append(range(max(0, near - REACH), min(most, max(0, near + REACH)) + 1))
    states = (objective.state(shares) for shares in itertools.product(*reach))
    return min(objective.total_error(state) for state in states if objective.is_feasible(state))


@pytest.mark.parametrize("seed", range(24))
def test_no_combination_of_shares_is_much_better(seed):
    state, wanted, quotes, config = small_account(seed)
    result = TradeCalculator(config).plan(state, wanted, quotes)
    objective = valued(state, wanted, quotes, config)
    moved = {trade.symbol: trade.quantity for trade in result.trades}
    planned = objective.state([line.whole_held + moved.get(line.symbol, 0) for line in objective.lines])
    assert objective.is_feasible(planned)
    assert objective.total_error(planned) <= best_of_all(objective) * Decimal("1.01")
