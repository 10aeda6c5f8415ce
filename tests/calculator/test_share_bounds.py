"""How far a buy may end above its target, which targets keep or get one share, and what pays for a first share."""

from decimal import Decimal

import pytest

from calculator.reason_codes import REASONS, WARNINGS
from tests.calculator.makers import account, plan, quote, reasons, targets, traded

A, B = quote("A", "100"), quote("B", "50")


def warned(result):
    return {warning.code for warning in result.warnings}


def mixed_account(surplus, others):
    """$100,000 with one symbol above its target, nine a little above, nine a little below, and one of 0.3 % missing."""
    names = [f"S{i:02d}" for i in range(19)]
    drifts = [surplus, *[others] * 9, *[-Decimal(others) - Decimal("0.02")] * 9]
    held = {
        name: round((Decimal("5.2") + Decimal(drift)) * 98) for name, drift in zip(names, drifts, strict=True)
    }  # shares of $10 for a weight of what a reserve of 2 % leaves
    worth = sum(held.values()) * 10
    state = account(100_000 - worth, *((name, shares, "10") for name, shares in held.items()))
    wanted = targets(**dict.fromkeys(names, "0.052"), NEW="0.003")
    quotes = [*(quote(name, "10") for name in names), quote("NEW", "2900")]
    return state, wanted, quotes


def test_first_share_is_not_paid_by_sells_that_the_band_freezes():
    """What is above target inside the band stays, so it cannot pay for a first share of another symbol."""
    state, wanted, quotes = mixed_account("1", "0.35")
    result = plan(state, wanted, quotes, cash_reserve_percent="2", band_percent="0.5")
    assert not result.plan.band_lifted
    assert "NEW" not in traded(result)
    assert "one_share_skipped" in warned(result)
    assert result.expected.l1_error <= result.before.l1_error
    assert all(trade.quantity > -100 for trade in result.trades), "nothing is sold below its target"


def test_first_share_is_paid_by_a_surplus_outside_the_band():
    state, wanted, quotes = mixed_account("4.1", "0.35")
    result = plan(state, wanted, quotes, cash_reserve_percent="2", band_percent="0.5")
    assert traded(result)["NEW"] == 1


@pytest.mark.parametrize(("one_share", "reason"), [(True, "would_overshoot"), (False, "not_enough_cash")])
def test_no_buy_ends_far_above_its_target(one_share, reason):
    quotes = [quote("A", "6000"), quote("B", "15000")]
    result = plan(account("10000"), targets(A="0.1", B="0.9"), quotes, one_share=one_share)
    assert traded(result) == {}
    assert reasons(result) == {"A": "at_target", "B": reason}


@pytest.mark.parametrize(
    ("price", "policy", "bought"),
    [
        ("1499", {}, 1),  # 4.99 % of the account above a target of 10 %
        ("1501", {}, 0),
        ("1501", {"one_share_max_overshoot_percent": "6"}, 1),
    ],
)
def test_overshoot_limit_decides_whether_a_share_is_bought(price, policy, bought):
    result = plan(account("10000"), targets(A="0.1", B="0.9"), [quote("A", price), B], **policy)
    assert traded(result).get("A", 0) == bought


@pytest.mark.parametrize(("price", "kept"), [("590", True), ("610", False)])
def test_last_share_is_kept_up_to_the_overshoot_limit(price, kept):
    state = account("0", ("A", "1", price), ("B", (10_000 - int(price)) // 50, "50"))
    state = account(10_000 - state.total_value_usd, *((p.symbol, p.quantity, p.market_price) for p in state.positions))
    result = plan(state, targets(A="0.01", B="0.99"), [quote("A", price), B])
    assert (reasons(result).get("A") == "last_share") is kept
    assert (traded(result).get("A") == -1) is not kept


def test_held_fraction_counts_for_the_overshoot_of_a_first_share():
    state = account("9100", ("A", "0.9", "1000"))
    result = plan(state, targets(A="0.1", B="0.9"), [quote("A", "1000"), B], one_share_max_overshoot_percent="8")
    assert "A" not in traded(result)
    assert "one_share_skipped" in warned(result)


def test_weights_of_almost_zero_get_no_share():
    noise = {f"N{i}": "0.00000001" for i in range(8)}
    quotes = [A, *(quote(name, "200") for name in noise)]
    result = plan(account("5000"), targets(A="0.999", **noise), quotes)
    assert set(traded(result)) == {"A"}
    assert {reasons(result)[name] for name in noise} == {"at_target"}
    assert "one_share_skipped" not in warned(result)


@pytest.mark.parametrize(
    ("weight", "policy", "bought"),
    [
        ("0.0005", {}, True),  # the least weight
        ("0.00049", {}, False),
        ("0.00049", {"one_share_min_weight_percent": "0.04"}, True),
        ("0.02", {"one_share_min_weight_percent": "50"}, True),  # half a share
        ("0.019", {"one_share_min_weight_percent": "50"}, False),
    ],
)
def test_one_share_needs_half_a_share_or_the_least_weight(weight, policy, bought):
    result = plan(account("5000"), targets(A="0.9", C=weight), [A, quote("C", "200")], **policy)
    assert ("C" in traded(result)) is bought


# ---- weights of zero, and a sum above one


@pytest.mark.parametrize(
    ("policy", "expected"),
    [("sell", {"B": -1}), ("keep", {}), ("ignore", {})],
)
def test_target_of_weight_zero_is_no_target(policy, expected):
    state = account("10", ("A", "100", "100"), ("B", "1", "50"))
    result = plan(state, targets(A="1", B="0"), [A, B], band_percent="5", unmanaged=policy)
    assert {symbol: n for symbol, n in traded(result).items() if symbol == "B"} == expected
    assert reasons(result).get("B") == {"sell": None, "keep": "kept", "ignore": "zero_weight"}[policy]


def test_target_of_weight_zero_that_is_not_held_has_a_reason():
    result = plan(account("10000"), targets(A="1", B="0"), [A])
    assert reasons(result) == {"B": "zero_weight"}
    assert "B" not in result.target_weights


@pytest.mark.parametrize("above", ["1.00001", "1.0001", "1.0005"])
def test_weights_slightly_above_one_are_scaled_in_proportion(above):
    wanted = targets(A=Decimal(above) * Decimal("0.6"), B=Decimal(above) * Decimal("0.4"))
    result = plan(account("10000"), wanted, [A, B])
    assert traded(result) == {"A": 60, "B": 80}
    assert result.target_weights == {"A": Decimal("0.6"), "B": Decimal("0.4"), "CASH": 0}
    assert "weights_scaled" in warned(result)


def test_new_codes_are_documented():
    assert {"makes_room", "last_share", "would_overshoot", "cost_exceeds_gain", "zero_weight"} <= REASONS.keys()
    assert "weights_scaled" in WARNINGS
