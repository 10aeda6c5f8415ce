"""Rules and refusals of the calculator, one sentence each."""

from decimal import Decimal

import pytest

from calculator import AccountState, CalculationRefused, Commission, PlanLine, Position, TradeCalculator
from calculator.reason_codes import REASONS, REFUSALS, WARNINGS
from tests.calculator.makers import account, config, plan, quote, reasons, targets, traded


def refusal(*arguments, **policy):
    with pytest.raises(CalculationRefused) as caught:
        plan(*arguments, **policy)
    assert caught.value.message.endswith((".", "hand."))
    return caught.value.code


A, B = quote("A", "100"), quote("B", "50")


@pytest.mark.parametrize(
    ("state", "wanted", "quotes", "policy", "code"),
    [
        (account("0", total="0"), targets(A="1"), [A], {}, "total_value_not_positive"),
        (account("-5", total="-5"), targets(A="1"), [A], {}, "total_value_not_positive"),
        (account("100"), targets(A="1"), [A], {"min_cash_usd": "100"}, "reserve_exceeds_value"),
        (account("1000"), [], [A], {}, "no_targets"),
        (account("1000"), targets(A="1.1", B="-0.1"), [A, B], {}, "negative_weight"),
        (account("1000"), targets(A="0.6", B="0.5"), [A, B], {}, "weights_above_one"),
        (account("1000"), targets(A="0.5") + targets(A="0.5"), [A], {}, "duplicate_target"),
        (account("1000"), targets(A="1"), [A, A], {}, "duplicate_quote"),
        (account("1000"), targets(A="1"), [A], {"cash_reserve_percent": "100"}, "reserve_out_of_range"),
        (account("1000"), targets(A="1"), [A], {"cash_reserve_percent": "-1"}, "reserve_out_of_range"),
        (account("1000"), targets(A="1"), [A], {"buy_slippage_percent": "-1"}, "negative_offset"),
        (account("1000", ("B", "-1", "50")), targets(A="1"), [A, B], {}, "short_position"),
        (account("1000", ("A", "-1", "50")), targets(A="1"), [A, B], {"shorts": "keep"}, "short_position"),
        (account("1000", ("A", "1", "100"), total="2000"), targets(A="1"), [A], {}, "account_data_mismatch"),
        (account("1000"), targets(A="0.5", B="0.5"), [A], {}, "too_much_frozen"),
    ],
)
def test_what_is_refused(state, wanted, quotes, policy, code):
    assert refusal(state, wanted, quotes, **policy) == code
    assert code in REFUSALS


def test_a_total_of_nan_or_infinity_is_no_input():
    for bad in ("NaN", "Infinity"):
        with pytest.raises(ValueError, match="finite"):
            AccountState(total_value_usd=Decimal(bad), cash_usd=Decimal(1))


def test_targets_are_bought_to_the_nearest_share():
    assert traded(plan(account("10000"), targets(A="0.6", B="0.4"), [A, B])) == {"A": 60, "B": 80}


def test_weights_are_of_what_the_reserve_leaves():
    result = plan(account("10000"), targets(A="1"), [A], cash_reserve_percent="10")
    assert traded(result) == {"A": 90}
    assert result.expected.cash >= 1000


def test_the_larger_of_both_reserves_counts():
    assert traded(plan(account("10000"), targets(A="1"), [A], cash_reserve_percent="1", min_cash_usd="2000")) == {
        "A": 80
    }


def test_what_weights_leave_out_stays_in_cash():
    result = plan(account("10000"), targets(A="0.5"), [A])
    assert traded(result) == {"A": 50}
    assert "weights_below_one" in [warning.code for warning in result.warnings]


def test_limits_with_commission_keep_the_floor_in_the_worst_case():
    rate = Commission(kind="rate", rate=Decimal("0.01"))
    result = plan(
        account("10000"), targets(A="1"), [quote("A", "99.98", "100.02")], buy_slippage_percent="1", commission=rate
    )
    (buy,) = result.plan.buys
    assert buy.price == Decimal("101.03")  # 100.02 * 1.01 = 101.0202, up to the cent
    assert buy.quantity * buy.price * Decimal("1.01") <= 10000
    assert (buy.quantity + 1) * buy.price * Decimal("1.01") > 10000


@pytest.mark.parametrize(("shares", "charged"), [(1, "1.00"), (100, "1.00"), (400, "2.00"), (10_000, "50.00")])
def test_commission_per_share(shares, charged):
    from calculator.commissions import charge_by
    from calculator.fixed_point import to_micro

    charge = charge_by(Commission(kind="per_share"))
    assert charge(shares, to_micro(Decimal(100) * shares)) == to_micro(Decimal(charged))


def test_commission_per_share_is_capped():
    from calculator.commissions import charge_by
    from calculator.fixed_point import to_micro

    assert charge_by(Commission(kind="per_share"))(1, to_micro(Decimal(5))) == to_micro(Decimal("0.05"))


# ---- rule 1: what is no target


@pytest.mark.parametrize(("policy", "expected", "reason"), [("sell", {"B": -10}, None), ("keep", {}, "kept")])
def test_what_is_no_target(policy, expected, reason):
    result = plan(
        account("0", ("A", "10", "100"), ("B", "10", "50")),
        targets(A="0.6"),
        [A, B],
        unmanaged=policy,
        band_percent="10",
    )
    assert {s: n for s, n in traded(result).items() if s == "B"} == expected
    assert reasons(result).get("B") == reason


def test_ignored_positions_are_outside_the_accounts_value():
    result = plan(account("1000", ("B", "100", "50")), targets(A="1"), [A, B], unmanaged="ignore")
    assert traded(result) == {"A": 10}
    assert result.plan.total_value_usd == 1000


def test_a_fraction_stays_and_is_said():
    result = plan(account("0", ("A", "10", "100"), ("B", "1.5", "50")), targets(A="1"), [A, B])
    assert traded(result)["B"] == -1
    assert "0.5 of a share of B remains." in [warning.message for warning in result.warnings]


# ---- rule 2: band


def test_inside_the_band_nothing_is_traded():
    result = plan(
        account("0", ("A", "61", "100"), ("B", "78", "50")), targets(A="0.6", B="0.4"), [A, B], band_percent="2"
    )
    assert traded(result) == {}
    assert reasons(result) == {"A": "inside_band", "B": "inside_band"}


# ---- rule 3: one share


def test_a_missing_target_gets_its_one_share():
    result = plan(account("10000"), targets(A="0.98", B="0.02"), [A, quote("B", "450")])
    assert traded(result)["B"] == 1


def test_the_one_share_may_not_overshoot_too_far():
    result = plan(account("10000"), targets(A="0.99", B="0.01"), [A, quote("B", "900")])
    assert "B" not in traded(result)
    assert "one_share_skipped" in [warning.code for warning in result.warnings]


def test_without_the_rule_no_share_is_forced():
    assert "B" not in traded(
        plan(account("10000"), targets(A="0.98", B="0.02"), [A, quote("B", "450")], one_share=False)
    )


# ---- rule 4: quotes


# ---- rule 6, and the rest


def test_an_improvement_that_is_too_small_is_not_traded():
    state = account("100", ("A", "99", "100"))
    assert traded(plan(state, targets(A="1"), [A], minimum_improvement_bps="250")) == {}
    assert traded(plan(state, targets(A="1"), [A], minimum_improvement_bps="150")) == {"A": 1}


def test_what_is_no_us_stock_is_counted_and_never_matched():
    option = Position(symbol="A", quantity=Decimal(5), market_price=Decimal(20), contract="OPT", tradable=False)
    state = AccountState(total_value_usd=Decimal(10100), cash_usd=Decimal(10000), positions=(option,))
    result = plan(state, targets(A="0.9"), [A])
    assert traded(result) == {"A": 90}
    assert reasons(result)["OPT"] == "other_contract"


def test_every_symbol_has_a_reason():
    state = account("500", ("A", "20", "100"), ("C", "3", "70"), ("D", "0.4", "10"))
    result = plan(state, targets(A="0.5", B="0.3"), [A, B, quote("C", "70"), quote("D", "10")])
    assert {trade.symbol for trade in result.trades} | set(reasons(result)) >= {"A", "B", "C", "D"}
    assert all(trade.reason in REASONS and trade.detail for trade in result.trades)
    assert all(item.reason in REASONS and item.detail for item in result.not_traded)
    assert all(warning.code in WARNINGS for warning in result.warnings)


# ---- fit_buys


def test_all_buys_fit_when_the_cash_is_as_planned():
    result = plan(account("0", ("C", "100", "100")), targets(A="0.6", B="0.4"), [A, B, quote("C", "100")])
    fitted = TradeCalculator.fit_buys(result.plan, Decimal(10000))
    assert [(trade.symbol, trade.quantity) for trade in fitted] == [
        (buy.symbol, buy.quantity) for buy in result.plan.buys
    ]


@pytest.mark.parametrize("cash", ["0", "-100", "49.99", "50", "1234.56", "9999.99", "20000"])
def test_fitted_buys_never_add_exceed_or_overspend(cash):
    result = plan(account("10000"), targets(A="0.6", B="0.4"), [A, B])
    planned = {buy.symbol: buy.quantity for buy in result.plan.buys}
    fitted = TradeCalculator.fit_buys(result.plan, Decimal(cash))
    assert all(0 < trade.quantity <= planned[trade.symbol] for trade in fitted)
    assert sum((trade.quantity * trade.price for trade in fitted), Decimal(0)) <= max(Decimal(cash), Decimal(0))


def test_a_shortage_is_spread_in_proportion():
    result = plan(account("10000"), targets(A="0.6", B="0.4"), [A, B])
    fitted = {trade.symbol: trade.quantity for trade in TradeCalculator.fit_buys(result.plan, Decimal(5000))}
    assert fitted == {"A": 30, "B": 40}


def test_a_plan_survives_json_with_its_digest():
    from calculator import TradeCalculationResult

    result = plan(account("10000"), targets(A="0.6", B="0.4"), [A, B])
    again = TradeCalculationResult.model_validate(result.model_dump(mode="json"))
    assert again.plan.plan_hash == result.plan.plan_hash
    assert again.model_dump() == result.model_dump()
    planned = (*result.plan.sells, *result.plan.buys)
    checked = (*again.plan.sells, *again.plan.buys)
    assert planned == checked, "lines that were trusted are what checking makes of them"
    assert [repr(line) for line in planned] == [repr(line) for line in checked]
    assert all(line.model_fields_set == set(PlanLine.model_fields) for line in planned)


def test_the_policy_is_strict_about_what_it_takes():
    with pytest.raises(ValueError, match="extra"):
        config(cash_reserve="3")


def test_below_the_reserve_many_symbols_are_rather_left_alone_than_sold_to_buy_another():
    names = [f"S{i:03d}" for i in range(160)]
    state = account(500, *((name, 5 if name == "S000" else 11, "100") for name in names))
    wanted = targets(**dict.fromkeys(names, "0.00625"))
    quotes = [quote(name, "99.99", "100.01") for name in names]
    result = plan(state, wanted, quotes, one_share=False, min_cash_usd=1000)
    assert traded(result) == {}
    assert {warning.code for warning in result.warnings} == {"cash_below_reserve"}
