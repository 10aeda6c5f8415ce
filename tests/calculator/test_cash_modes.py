"""Plans that invest cash, raise cash, or do what the cash asks for."""

from decimal import Decimal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from calculator import CalculationRefused, Commission, TradeCalculator
from tests.calculator.makers import account, charged, drawn_account, plan, quote, reasons, rule, targets, traded

A, B, C, X = (quote(symbol, "100") for symbol in "ABCX")
PLAIN = {"one_share": False}


def held(cash="0", **shares):
    """An account with shares at $100."""
    return account(cash, *((symbol, quantity, "100") for symbol, quantity in shares.items()))


@pytest.mark.parametrize(
    ("state", "weights", "fields", "expected"),
    [
        (held("1000", A="60", B="30"), {"A": ".6", "B": ".4"}, {}, {"B": 10}),
        (held("1000", A="70", B="10", C="10"), {"A": ".5", "B": ".3", "C": ".2"}, {}, {"B": 8, "C": 2}),
        (held("1000", A="60", B="30"), {"A": ".6", "B": ".4"}, {"set_aside_usd": "400"}, {"B": 6}),
        # More than enough for all targets: each is filled to its own.
        (held("5000", A="20", B="20"), {"A": ".5", "B": ".3"}, {}, {"A": 25, "B": 7}),
        (held("0", A="70", B="30"), {"A": ".5", "B": ".5"}, {}, {}),
        (held("1000", A="60", X="30"), {"A": ".5", "B": ".5"}, {}, {"B": 10}),
        (held("1000", A="60", B="30"), {"A": ".6", "B": ".4"}, {"rules": [rule("B", "no_buy")]}, {"A": 10}),
        (held("1000", A="60", B="30"), {"A": ".6", "B": ".4"}, {"band_percent": "50"}, {"B": 10}),
        (held("1000", A="60", B="30"), {"A": ".6", "B": ".4"}, {"minimum_improvement_bps": "9999"}, {"B": 10}),
        (held("1000", A="50", B="48"), {"A": ".5", "B": ".5"}, {}, {"A": 4, "B": 6}),
        (held("1000", A="50", B="48"), {"A": ".5", "B": ".5"}, {"minimum_trade_usd": "500"}, {"B": 6}),
    ],
)
def test_invested_cash_fills_the_lowest_parts_of_targets(state, weights, fields, expected):
    result = plan(state, targets(**weights), [A, B, C, X], mode="invest", **(PLAIN | fields))
    assert traded(result) == expected
    assert result.plan.mode == "invest"


@pytest.mark.parametrize(
    ("state", "weights", "amount", "fields", "expected"),
    [
        (held(A="70", B="30", C="10"), {"A": ".5", "B": ".3", "C": ".2"}, 1000, {}, {"A": -10}),
        (held(A="80", B="60"), {"A": ".5", "B": ".5"}, 4000, {}, {"A": -30, "B": -10}),
        # What the model sells in any case goes first, and only as much as is needed.
        (held(A="50", X="50"), {"A": "1"}, 1000, {}, {"X": -10}),
        (held(A="50", X="50"), {"A": "1"}, 6000, {}, {"X": -50, "A": -10}),
        (held(A="50", X="50"), {"A": "1"}, 1000, {"outside_model": "keep"}, {"A": -10}),
        (held(A="50", X="50"), {"A": "1"}, 1000, {"rules": [rule("A", "close")], "outside_model": "keep"}, {"A": -10}),
        # What is there counts.
        (held("400", A="60"), {"A": "1"}, 1000, {}, {"A": -6}),
        (held("1000", A="60"), {"A": "1"}, 1000, {}, {}),
        (held("1000", A="60"), {"A": "1"}, 1000, {"min_cash_usd": "300"}, {"A": -3}),
        (held("-500", A="60"), {"A": "1"}, 1000, {}, {"A": -15}),
        (held(A="70", B="30"), {"A": ".5", "B": ".5"}, 1000, {"rules": [rule("A", "no_sell")]}, {"B": -10}),
        (held(A="70", B="30"), {"A": ".5", "B": ".5"}, 1000, {"minimum_trade_usd": "5000"}, {"A": -10}),
        # The last share of a target goes only if the amount needs it.
        (held(A="40", B="1"), {"A": ".5", "B": ".5"}, 3900, {"one_share": True}, {"A": -39}),
        (held(A="40", B="1"), {"A": ".6", "B": ".4"}, 4000, {"one_share": True}, {"A": -39, "B": -1}),
        (held(A="40", B="1"), {"A": ".6", "B": ".4"}, 4100, {"one_share": True}, {"A": -40, "B": -1}),
    ],
)
def test_raised_cash_comes_from_what_is_furthest_above_its_target(state, weights, amount, fields, expected):
    result = plan(state, targets(**weights), [A, B, C, X], mode="raise", raise_usd=amount, **(PLAIN | fields))
    assert traded(result) == expected


def test_raised_cash_is_net_of_commissions():
    commission = Commission(kind="per_share", per_share=Decimal("0.005"), min_per_order=Decimal(1))
    state = account("0", ("A", "100", "99.37"))
    fields = {"mode": "raise", "raise_usd": 1000, "commission": commission}
    result = plan(state, targets(A="1"), [quote("A", "99.37")], **fields)
    assert traded(result) == {"A": -11}


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"mode": "raise", "raise_usd": "6001"}, "raise_exceeds_value"),
        ({"mode": "raise", "raise_usd": "5900", "min_cash_usd": "200"}, "raise_exceeds_value"),
        ({"mode": "raise", "raise_usd": "10", "rules": [rule("A", "no_sell")]}, "raise_exceeds_value"),
        ({"mode": "raise", "raise_usd": "6000", "sell_slippage_percent": "1"}, "raise_exceeds_value"),
        ({"mode": "raise"}, "invalid_amount"),
        ({"mode": "raise", "raise_usd": "0"}, "invalid_amount"),
        ({"mode": "invest", "raise_usd": "5"}, "invalid_amount"),
    ],
)
def test_amount_that_cannot_be_raised_is_refused(fields, code):
    with pytest.raises(CalculationRefused) as caught:
        plan(held(A="60"), targets(A="1"), [A], **(PLAIN | fields))
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("cash", "expected", "reason"),
    [
        ("1000", {"A": 9, "B": 0}, None),
        ("100", {}, "no_cash_to_move"),
        ("50", {"B": -1}, None),
        ("-50", {"B": -2}, None),
    ],
)
def test_flow_does_what_the_cash_asks_for(cash, expected, reason):
    result = plan(held(cash, A="30", B="40"), targets(A=".5", B=".5"), [A, B], mode="flow", min_cash_usd="100", **PLAIN)
    assert traded(result) == {symbol: shares for symbol, shares in expected.items() if shares}
    if reason:
        assert set(reasons(result).values()) == {reason}


@pytest.mark.parametrize(
    ("fields", "symbol", "reason"),
    [
        ({"mode": "invest"}, "A", "invest_sells_nothing"),
        ({"mode": "invest"}, "X", "invest_sells_nothing"),
        ({"mode": "invest", "rules": [rule("B", "no_buy")]}, "B", "no_buy_rule"),
        ({"mode": "raise", "raise_usd": "1600"}, "B", "raise_buys_nothing"),
        ({"mode": "raise", "raise_usd": "1600"}, "A", "raises_cash"),
        ({"mode": "raise", "raise_usd": "1600"}, "X", "not_a_target"),
        ({"mode": "raise", "raise_usd": "1600", "outside_model": "keep"}, "X", "kept"),
    ],
)
def test_every_symbol_has_its_reason_in_each_mode(fields, symbol, reason):
    result = plan(held("200", A="70", B="10", X="10"), targets(A=".5", B=".5"), [A, B, X], **(PLAIN | fields))
    explained = reasons(result) | {trade.symbol: trade.reason for trade in result.trades}
    assert explained[symbol] == reason


def test_mode_and_amount_are_part_of_the_hash():
    state, wanted = held(A="60", B="40"), targets(A=".5", B=".5")
    plans = [
        plan(state, wanted, [A, B], mode=mode, raise_usd=amount, **PLAIN).plan
        for mode, amount in [("full", None), ("invest", None), ("flow", None), ("raise", 10), ("raise", 20)]
    ]
    assert len({one.plan_hash for one in plans}) == len(plans)
    assert plans[0].model_dump(mode="json").keys().isdisjoint({"mode", "raise_usd", "rules"})


@given(st.integers(0, 10_000), st.integers(1, 40))
def test_invest_sells_nothing_and_leaves_no_useful_share_that_could_be_paid(seed, size):
    state, wanted, quotes, policy = drawn_account(seed, size)
    result = TradeCalculator(policy).plan(state, wanted, quotes, mode="invest")
    assert not result.plan.sells
    spent = [(buy.quantity, buy.price) for buy in result.plan.buys]
    worst = state.cash_usd - sum((n * limit + charged(policy.commission, n, limit) for n, limit in spent), Decimal(0))
    if spent:
        assert worst >= result.plan.floor_usd
        assert result.expected.l1_error <= result.before.l1_error + Decimal("0.001")
    again = TradeCalculator(policy).plan(_after(state, result), wanted, quotes, mode="invest")
    bought = sum((trade.quantity * trade.price for trade in again.trades), Decimal(0))
    assert bought <= max(Decimal(0), worst - result.plan.floor_usd)


def _after(state, result):
    """The account after the trades at their quotes and commissions."""
    held_now = {row.symbol: row.quantity for row in state.positions}
    marks = {row.symbol: row.market_price for row in state.positions}
    cash = state.cash_usd
    for line in (*result.plan.sells, *result.plan.buys):
        held_now[line.symbol] = held_now.get(line.symbol, Decimal(0)) + line.quantity
        marks.setdefault(line.symbol, line.mark_usd)
        cash -= line.quantity * line.quote_usd + charged(result.plan.commission, abs(line.quantity), line.quote_usd)
    return account(cash, *((symbol, n, marks[symbol]) for symbol, n in held_now.items() if n))


@given(st.integers(0, 10_000), st.integers(1, 40), st.integers(1, 120))
def test_raise_brings_the_amount_buys_nothing_and_sells_no_share_too_many(seed, size, percent):
    state, wanted, quotes, policy = drawn_account(seed, size)
    amount = (state.total_value_usd * percent / 100).quantize(Decimal("0.01"))
    try:
        result = TradeCalculator(policy).plan(state, wanted, quotes, mode="raise", raise_usd=amount)
    except CalculationRefused as refusal:
        assert refusal.code == "raise_exceeds_value"
        return
    assert not result.plan.buys
    floor, commission = result.plan.floor_usd, policy.commission

    def net(shares, limit):
        return shares * limit - charged(commission, shares, limit) if shares else Decimal(0)

    sold = {sell.symbol: (-sell.quantity, sell.price) for sell in result.plan.sells}
    cash = state.cash_usd + sum((net(*one) for one in sold.values()), Decimal(0))
    assert cash >= floor or not sold
    for shares, limit in sold.values():
        assert cash - net(shares, limit) + net(shares - 1, limit) < floor
    # At quotes there is at least as much as at limit prices, so that a second plan has nothing to do.
    assume(sold)
    again = TradeCalculator(policy).plan(_after(state, result), wanted, quotes, mode="raise", raise_usd=amount)
    assert not again.trades


@given(st.integers(0, 10_000), st.integers(1, 40), st.sampled_from(["invest", "flow"]))
def test_order_of_rows_makes_no_difference_in_any_mode(seed, size, mode):
    state, wanted, quotes, policy = drawn_account(seed, size)
    calculator = TradeCalculator(policy)
    turned = state.model_copy(update={"positions": state.positions[::-1]})
    assert calculator.plan(state, wanted, quotes, mode=mode) == calculator.plan(
        turned, wanted[::-1], quotes[::-1], mode=mode
    )
