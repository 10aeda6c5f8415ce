"""Positions outside the model, and rules that hold, limit or close a symbol."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calculator import AccountConfig, AccountState, CalculationRefused, Position, TradeCalculator
from tests.calculator.makers import account, drawn_account, plan, quote, reasons, rule, targets, traded

A, B, C, X = (quote(symbol, "100") for symbol in "ABCX")
PLAIN = {"one_share": False}


def held(cash="0", **shares):
    """An account with shares at $100."""
    return account(cash, *((symbol, quantity, "100") for symbol, quantity in shares.items()))


def codes(result):
    return {warning.code for warning in result.warnings}


@pytest.mark.parametrize(
    ("state", "weights", "rules", "expected"),
    [
        # What it may not sell is pinned; the others share the rest.
        (held("1000", A="70", B="10", C="10"), {"A": ".5", "B": ".3", "C": ".2"}, [("A", "no_sell")], {"B": 8, "C": 2}),
        # Two rounds: after the first, B is above its share as well.
        (held(A="50", B="29", C="21"), {"A": ".4", "B": ".3", "C": ".3"}, [("A", "no_sell"), ("B", "no_sell")], {}),
        # Only the kind with the larger distances is pinned.
        (
            held(A="70", B="25", C="5"),
            {"A": ".5", "B": ".3", "C": ".2"},
            [("A", "no_sell"), ("B", "no_buy")],
            {"B": -7, "C": 7},
        ),
        # A symbol that is not held and may not be bought leaves its weight to the others.
        (held(A="70", B="30"), {"A": ".4", "B": ".4", "C": ".2"}, [("C", "no_buy")], {"A": -20, "B": 20}),
        (held(A="70", B="30"), {"A": ".1", "B": ".9"}, [("A", "range", 20, 40)], {"A": -50, "B": 50}),
        (held(A="70", B="30"), {"A": ".1", "B": ".9"}, [], {"A": -60, "B": 60}),
        (held(A="70", B="30"), {"A": ".9", "B": ".1"}, [("A", "range", None, 40)], {"A": -30, "B": 30}),
        (held("10000"), {"A": ".1", "B": ".9"}, [("A", "range", 20, None)], {"A": 20, "B": 80}),
        (held(A="70", B="30"), {"A": ".5", "B": ".5"}, [("A", "hold")], {}),
        (held("4000", A="30", B="30"), {"A": ".5", "B": ".5"}, [("A", "hold")], {"B": 40}),
        (held(A="70", B="30"), {"A": ".5", "B": ".5"}, [("A", "close")], {"A": -70, "B": 70}),
        # A liquidation obeys them, too.
        (held(A="50", X="50"), {"A": "1"}, [("X", "hold")], {}),
        (held(A="50", X="50"), {"A": "1"}, [("X", "no_sell")], {}),
        (held(A="50", X="50"), {"A": "1"}, [("X", "no_buy")], {"A": 50, "X": -50}),
        (held(A="50", X="50"), {"A": "1"}, [("X", "range", 20, None)], {"A": 30, "X": -30}),
    ],
)
def test_rules_pin_lines_and_share_out_the_rest(state, weights, rules, expected):
    made = [
        rule(
            symbol,
            kind,
            **{k: v for k, v in zip(("minimum_shares", "maximum_shares"), bounds, strict=False) if v is not None},
        )
        for symbol, kind, *bounds in rules
    ]
    result = plan(state, targets(**weights), [A, B, C, X], rules=made, **PLAIN)
    assert traded(result) == expected


@pytest.mark.parametrize("kind", ["hold", "no_buy", "no_sell", "close"])
def test_symbol_with_a_rule_has_its_reason(kind):
    state = held(A="70", B="30") if kind in {"no_sell", "hold"} else held("7000", A="20", B="10")
    result = plan(state, targets(A=".5", B=".5"), [A, B], rules=[rule("A", kind)], **PLAIN)
    explained = reasons(result) | {trade.symbol: trade.reason for trade in result.trades}
    assert explained["A"] == {"hold": "held_by_rule"}.get(kind, f"{kind}_rule")


@pytest.mark.parametrize(
    ("rules", "code"),
    [
        ([rule("A", "hold"), rule("A", "no_buy")], "duplicate_rule"),
        ([rule("A", "range")], "invalid_range"),
        ([rule("A", "range", minimum_shares="3", maximum_shares="2")], "invalid_range"),
        ([rule("A", "range", minimum_shares="-1")], "invalid_range"),
        ([rule("A", "hold", maximum_shares="3")], "invalid_range"),
    ],
)
def test_rules_that_contradict_each_other_are_refused(rules, code):
    with pytest.raises(CalculationRefused) as caught:
        plan(held("1000", A="1"), targets(A="1"), [A], rules=rules)
    assert caught.value.code == code


@pytest.mark.parametrize("policy", ["keep", "ask"])
def test_kept_position_is_no_part_of_the_base(policy):
    result = plan(held(X="300", A="600", B="100"), targets(A=".6", B=".4"), [A, B, X], outside_model=policy, **PLAIN)
    assert traded(result) == {"A": -180, "B": 180}
    assert result.target_weights["X"] == result.before.weights["X"] == Decimal("0.3")
    assert ("outside_model_ask" in codes(result)) == (policy == "ask")
    assert reasons(result)["X"] == "kept"


def test_fund_that_cannot_be_traded_is_no_part_of_the_base():
    fund = Position(
        symbol="FUND", quantity=Decimal(300), market_price=Decimal(100), contract="FUND (7)", tradable=False
    )
    state = held(A="600", B="100")
    state = AccountState(
        total_value_usd=state.total_value_usd + 30_000, cash_usd=Decimal(0), positions=(*state.positions, fund)
    )
    result = plan(state, targets(A=".6", B=".4"), [A, B], **PLAIN)
    assert traded(result) == {"A": -180, "B": 180}
    assert result.residual_drift_expected == 0


def test_debt_in_another_currency_makes_the_base_no_larger():
    debt = Position(
        symbol="EUR", quantity=Decimal(-100), market_price=Decimal(1), contract="EUR", tradable=False, is_cash=True
    )
    state = AccountState(total_value_usd=Decimal(9900), cash_usd=Decimal(10_000), positions=(debt,))
    assert traded(plan(state, targets(A="1"), [A], **PLAIN)) == {"A": 99}


def test_treatment_of_one_symbol_goes_before_that_of_all():
    state = held(X="50", A="50")
    assert traded(plan(state, targets(A="1"), [A, X], outside_model_of={"X": "keep"}, **PLAIN)) == {}
    kept = plan(state, targets(A="1"), [A, X], outside_model="keep", outside_model_of={"X": "sell"}, **PLAIN)
    assert traded(kept) == {"A": 50, "X": -50}


def test_kept_position_without_a_quote_refuses_no_plan():
    assert traded(plan(held("1000", X="300"), targets(A="1"), [A], outside_model="keep", **PLAIN)) == {"A": 10}


def test_set_aside_money_is_not_spent():
    assert traded(plan(held("1000"), targets(A="1"), [A], set_aside_usd="400", **PLAIN)) == {"A": 6}


def test_rules_are_part_of_the_hash():
    state, wanted = held("1000", A="70", B="10"), targets(A=".5", B=".5")
    plain, ruled = (plan(state, wanted, [A, B], rules=rules, **PLAIN).plan for rules in ((), [rule("C", "hold")]))
    assert plain.plan_hash != ruled.plan_hash
    assert plain.model_dump(mode="json").keys() == ruled.model_dump(mode="json").keys() - {"rules"}


KINDS = st.sampled_from(["hold", "no_buy", "no_sell", "close", "range"])


@given(st.integers(0, 10_000), st.integers(1, 40), st.data())
def test_rules_are_obeyed_whatever_the_account(seed, size, data):
    state, wanted, quotes, policy = drawn_account(seed, size)
    shares = {row.symbol: int(row.quantity) for row in state.positions}
    names = sorted({target.symbol for target in wanted} | shares.keys())
    rules = []
    for name in data.draw(st.lists(st.sampled_from(names), unique=True, max_size=6)):
        kind = data.draw(KINDS)
        low = data.draw(st.integers(0, 60))
        bounds = {"minimum_shares": low, "maximum_shares": low + data.draw(st.integers(0, 60))}
        rules.append(rule(name, kind, **(bounds if kind == "range" else {})))
    result = TradeCalculator(policy).plan(state, wanted, quotes, rules=rules)
    moved = traded(result)
    for one in rules:
        change, now = moved.get(one.symbol, 0), shares.get(one.symbol, 0)
        if one.rule == "hold":
            assert change == 0
        elif one.rule == "no_buy":
            assert change <= 0
        elif one.rule == "no_sell":
            assert change >= 0
        elif one.rule == "close":
            assert now + change == 0
        else:
            assert now + change <= one.maximum_shares
            assert now + change >= min(one.minimum_shares, now)
    explained = {trade.symbol for trade in result.trades} | reasons(result).keys()
    assert set(names) <= explained
    worst = result.plan.cash_usd - sum((b.quantity * b.price for b in result.plan.buys), Decimal(0))
    if result.plan.buys and not result.plan.sells:
        assert worst >= result.plan.floor_usd


@given(st.integers(0, 10_000), st.integers(1, 40))
def test_order_of_rules_makes_no_difference(seed, size):
    state, wanted, quotes, policy = drawn_account(seed, size)
    rules = [
        rule(target.symbol, kind) for target, kind in zip(wanted, ["hold", "no_sell", "no_buy", "close"], strict=False)
    ]
    calculator = TradeCalculator(policy)
    assert calculator.plan(state, wanted, quotes, rules=rules) == calculator.plan(
        state, wanted[::-1], quotes[::-1], rules=rules[::-1]
    )


@pytest.mark.parametrize(
    ("quantity", "low", "high", "expected", "warns"),
    [
        ("5.25", 4, 4, {"A": -1}, True),
        ("4.25", 4, 4, {}, True),
        ("2.25", 4, 4, {"A": 1}, True),
        ("5", 4, 4, {"A": -1}, False),
        ("49", 0, 0, {"A": -49}, False),
        ("26.06", 0, "0.5", {"A": -26}, False),
    ],
)
def test_range_is_kept_as_far_as_whole_shares_allow(quantity, low, high, expected, warns):
    state = held("1000", A=quantity, B="100")
    bounds = {"minimum_shares": low, "maximum_shares": high}
    result = plan(state, targets(A=".1", B=".9"), [A, B], rules=[rule("A", "range", **bounds)], one_share=True)
    moved = traded(result)
    assert {symbol: moved[symbol] for symbol in moved.keys() & {"A"}} == expected
    assert ("range_unreachable" in codes(result)) == warns


@given(st.integers(0, 10_000), st.integers(1, 20), st.sampled_from(["full", "invest", "raise", "flow"]), st.data())
def test_no_trade_breaks_a_range_and_every_symbol_has_one_reason(seed, size, mode, data):
    state, wanted, quotes, policy = drawn_account(seed, size)
    policy = policy.model_copy(update={"one_share": data.draw(st.booleans()), "max_frozen_percent": Decimal(100)})
    drawn = data.draw(st.lists(st.integers(0, 99), min_size=len(state.positions), max_size=len(state.positions)))
    parts = [Decimal(part) / 100 for part in drawn]
    positions = tuple(
        row.model_copy(update={"quantity": row.quantity + part}) if row.quantity >= 0 else row
        for row, part in zip(state.positions, parts, strict=True)
    )
    added = sum(
        (new.quantity - old.quantity) * old.market_price for new, old in zip(positions, state.positions, strict=True)
    )
    state = state.model_copy(update={"positions": positions, "total_value_usd": state.total_value_usd + added})
    shares = {row.symbol: row.quantity for row in positions}
    wanted = [*wanted[:-1], wanted[-1].model_copy(update={"weight": Decimal(0)})] if len(wanted) > 1 else wanted
    rules = []
    for symbol in sorted({target.symbol for target in wanted} | shares.keys())[:6]:
        low = Decimal(data.draw(st.integers(0, 240))) / 4
        high = low + Decimal(data.draw(st.integers(0, 8))) / 4
        rules.append(rule(symbol, "range", minimum_shares=low, maximum_shares=high))
    amount = {"raise_usd": Decimal(100)} if mode == "raise" else {}
    try:
        result = TradeCalculator(policy).plan(state, wanted, quotes, rules=rules, mode=mode, **amount)
    except CalculationRefused:
        return
    moved = traded(result)
    for one in rules:
        change, now = moved.get(one.symbol, 0), shares.get(one.symbol, Decimal(0))
        assert change <= 0 or now + change <= one.maximum_shares
        assert change >= 0 or now + change >= one.minimum_shares
    named = [trade.symbol for trade in result.trades] + [item.symbol for item in result.not_traded]
    assert len(named) == len(set(named))


@pytest.mark.parametrize("mode", ["raise", "flow"])
def test_target_of_weight_zero_that_is_sold_is_not_listed_as_untraded(mode):
    amount = {"raise_usd": Decimal(1000)} if mode == "raise" else {}
    state = held("0" if mode == "raise" else "-1000", A="50", B="50")
    config = AccountConfig(one_share=False)
    result = TradeCalculator(config).plan(state, targets(A="1", B="0"), [A, B], mode=mode, **amount)
    assert traded(result)["B"] < 0
    assert "B" not in reasons(result)
