"""Reasons are true: they follow from the shares before and after the trade."""

import random
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calculator import CalculationRefused, Commission, TradeCalculator
from tests.calculator.makers import account, charged, config, plan, quote, reasons, targets, traded

PENNY = Decimal("0.0001")


def drawn_account(seed, size):
    """An account with `size` targets near and far from balance, a missing one, and one position that is no target."""
    rng = random.Random(seed)
    names = [f"S{i:03d}" for i in range(size)]
    value = rng.choice([2_000, 10_000, 100_000, 1_000_000])
    prices = {name: Decimal(rng.choice([rng.randint(500, 9000), rng.randint(9000, 300_000)])) / 100 for name in names}
    parts = {name: rng.randint(1, 40) for name in names}
    whole = sum(parts.values()) * rng.choice([1, 1, 1.3])
    weights = {name: f"{part / whole - 1e-6:.6f}" for name, part in parts.items()}
    rows = []
    for name in names[rng.randint(0, 1) :]:
        wanted = float(value) * float(weights[name]) * rng.choice([0, 1, rng.gauss(1, 0.1), rng.gauss(1, 0.6)])
        rows.append((name, max(0, round(wanted / float(prices[name]))), prices[name]))
    quotes = [quote(name, price - PENNY * 100, price + PENNY * 100) for name, price in prices.items()]
    policy = config(
        cash_reserve_percent=rng.choice([0, 2]),
        band_percent=rng.choice(["0", "0.5", "2"]),
        commission=rng.choice([Commission(), Commission(kind="per_share"), Commission(rate=Decimal(0))]),
        minimum_improvement_bps=rng.choice([0, 10]),
        one_share=rng.random() < 0.7,
    )
    state = account(rng.randint(0, value // rng.choice([4, 40])), *(row for row in rows if row[1]))
    return state, targets(**weights), quotes, policy


def outcome(case, result):
    """Values before and after and targets in USD by symbol, for the targets with their marks."""
    state, wanted, quotes, _ = case
    held = {row.symbol: row.quantity for row in state.positions}
    moved = traded(result)
    investable = result.plan.total_value_usd - result.plan.floor_usd
    for target in wanted:
        quoted = next(q for q in quotes if q.symbol == target.symbol)
        mark, shares = (quoted.bid + quoted.ask) / 2, held.get(target.symbol, Decimal(0))
        goal = target.weight * investable
        yield target.symbol, mark, shares * mark - goal, (shares + moved.get(target.symbol, 0)) * mark - goal


@given(st.integers(0, 10**9), st.sampled_from([2, 5, 12, 40, 160]))
@settings(max_examples=150)
def test_reasons_of_trades_and_of_untraded_symbols_are_true(seed, size):
    case = drawn_account(seed, size)
    try:
        result = TradeCalculator(case[3]).plan(*case[:3])
    except CalculationRefused:
        return
    told = {trade.symbol: trade.reason for trade in result.trades} | reasons(result)
    moved = traded(result)
    cash = result.expected.cash
    limits = {q.symbol: q.ask for q in case[2]}
    for symbol, mark, before, after in outcome(case, result):
        slack = mark / 1000
        match told[symbol]:
            case "overweight":
                assert before > 0 > moved[symbol]
                assert abs(after) <= abs(before) + slack
            case "makes_room":
                assert moved[symbol] < 0
                assert abs(after) >= abs(before) - slack
            case "underweight":
                assert before < 0 < moved[symbol]
            case "one_share":
                assert moved[symbol] == 1
            case "at_target":
                assert abs(before) <= mark / 2 + slack
            case "last_share":
                assert before > mark / 2 - slack
            case "would_overshoot":
                assert before <= -mark / 2 + slack
            case "not_enough_cash":
                assert before <= -mark / 2 + slack
                fee = charged(result.plan.commission, 1, limits[symbol])
                keep = max(result.plan.floor_usd, result.plan.cash_target_usd)
                bought = sum((b.quantity * (b.price - b.quote_usd) for b in result.plan.buys), Decimal(0))
                assert cash - bought - limits[symbol] - 2 * fee - keep < 1
            case "inside_band":
                assert abs(before) <= case[3].band_percent / 100 * result.plan.total_value_usd + slack
            case "cost_exceeds_gain" | "improvement_too_small":
                assert abs(before) >= mark / 2 - slack or case[3].minimum_improvement_bps
    skipped = [w.message for w in result.warnings if w.code == "one_share_skipped"]
    assert not any(f"No share of {trade.symbol}:" in message for trade in result.trades for message in skipped)


def test_symbol_sold_below_its_target_makes_room():
    """Each A is 0.3 of a share above its target and B nine shares below: one A pays for all of B."""
    state = account("0", *((name, "5", "1000") for name in ("A1", "A2", "A3")), ("B", "11", "100"))
    wanted = targets(A1="0.291925", A2="0.291925", A3="0.291925", B="0.124224")
    result = plan(state, wanted, [quote("A1", "1000"), quote("A2", "1000"), quote("A3", "1000"), quote("B", "100")])
    assert sorted(traded(result).values()) == [-1, 9]
    assert [trade.reason for trade in result.trades] == ["makes_room", "underweight"]


def test_symbol_without_money_for_a_share_is_not_at_target():
    state = account("60", ("A", "9", "100"), ("B", "10", "100"))
    result = plan(state, targets(A="0.5", B="0.5"), [quote("A", "100"), quote("B", "100")])
    assert reasons(result) == {"A": "not_enough_cash", "B": "at_target"}


def test_warning_of_a_skipped_share_is_taken_back_when_it_is_bought():
    """No money is certain for a first share of B, but selling A below its target for it is closer to the targets."""
    state = account("0", ("A", "10", "100"))
    result = plan(state, targets(A="0.86", B="0.14"), [quote("A", "100"), quote("B", "140")])
    assert traded(result)["B"] == 1
    assert "one_share_skipped" not in {warning.code for warning in result.warnings}
