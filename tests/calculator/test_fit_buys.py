"""`fit_buys`: the best smaller set of buys for the cash that the sells brought."""

import itertools
import random
from decimal import Decimal

import pytest

from calculator import Plan, TradeCalculator
from tests.calculator.makers import account, plan, quote, targets

STORED = {  # as it was stored before plans had a cash target
    "total_value_usd": "10000.000000",
    "floor_usd": "200.000000",
    "cash_usd": "500.000000",
    "sells": [
        {
            "symbol": "C",
            "quantity": -45,
            "order_type": "LIMIT",
            "price": "100.00",
            "reason": "not_a_target",
            "detail": "Held, but not a target.",
            "quote_usd": "100.00",
            "mark_usd": "100.000000",
            "held": "45",
            "target_value_usd": "0.000000",
        }
    ],
    "buys": [
        {
            "symbol": "B",
            "quantity": 78,
            "order_type": "LIMIT",
            "price": "50.00",
            "reason": "underweight",
            "detail": "0.00 % now, target 39.20 %.",
            "quote_usd": "50.00",
            "mark_usd": "50.000000",
            "held": "0",
            "target_value_usd": "3920.000000",
        },
        {
            "symbol": "A",
            "quantity": 9,
            "order_type": "LIMIT",
            "price": "100.00",
            "reason": "underweight",
            "detail": "50.00 % now, target 58.80 %.",
            "quote_usd": "100.00",
            "mark_usd": "100.000000",
            "held": "50",
            "target_value_usd": "5880.000000",
        },
    ],
    "commission": {"kind": "per_share", "rate": "0.01", "per_share": "0", "min_per_order": "0", "max_rate": "1"},
    "band_lifted": False,
}
STORED_HASH = "e3047e974911214ae6bb5ce8931a7875cd6506fad5b79b467b5c6ae0ad420268"


def fitted(planned, cash):
    return {trade.symbol: trade.quantity for trade in TradeCalculator.fit_buys(planned, Decimal(cash))}


def test_stored_plan_without_a_cash_target_keeps_its_hash_and_fits():
    stored = Plan.model_validate(STORED)
    assert stored.plan_hash == STORED_HASH
    assert fitted(stored, "5000") == {"B": 78, "A": 9}
    assert fitted(stored, "2000") == {"B": 36}


def test_cash_slightly_short_does_not_drop_a_high_priced_share():
    """$0.80 less than planned costs one low-priced share, not the share that is most of the buys."""
    state = account("0", ("GONE", "80", "10"))
    result = plan(state, targets(A="0.84", B="0.16"), [quote("A", "672"), quote("B", "64"), quote("GONE", "10")])
    assert fitted(result.plan, "800") == {"A": 1, "B": 2}
    assert fitted(result.plan, "799.20") == {"A": 1, "B": 1}


def small_plan(seed):
    """A plan that sells what is no target and buys up to four symbols of $20 to $700."""
    rng = random.Random(seed)
    names = "ABCD"[: rng.randint(2, 4)]
    prices = {name: Decimal(rng.randint(2000, 70000)) / 100 for name in names}
    parts = {name: rng.randint(1, 9) for name in names}
    wanted = {name: f"{part / sum(parts.values()) - 0.0001:.4f}" for name, part in parts.items()}
    state = account(rng.randint(0, 500), ("GONE", rng.randint(15, 90), "50"))
    quotes = [quote("GONE", "50"), *(quote(n, price, price + Decimal("0.02")) for n, price in prices.items())]
    return plan(state, targets(**wanted), quotes).plan


def needed(lines, bought):
    return sum((n * line.price for n, line in zip(bought, lines, strict=True)), Decimal(0))


def error(planned, bought, cash):
    """The distances of the bought symbols and of cash after buying, and the half spreads, in USD."""
    total = abs(cash - needed(planned.buys, bought) - planned.cash_target_usd)
    for n, line in zip(bought, planned.buys, strict=True):
        total += abs((line.held + n) * line.mark_usd - line.target_value_usd) + n * (line.quote_usd - line.mark_usd)
    return total


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("short_usd", ["0.80", "25", "300"])
def test_fitted_buys_are_as_good_as_the_best_part_of_the_plan(seed, short_usd):
    planned = small_plan(seed)
    cash = needed(planned.buys, [line.quantity for line in planned.buys]) - Decimal(short_usd)
    parts = itertools.product(*(range(line.quantity + 1) for line in planned.buys))
    best = min(error(planned, bought, cash) for bought in parts if needed(planned.buys, bought) <= cash)
    bought = fitted(planned, cash)
    ours = error(planned, [bought.get(line.symbol, 0) for line in planned.buys], cash)
    assert ours <= best * Decimal("1.02") + Decimal("0.01")
