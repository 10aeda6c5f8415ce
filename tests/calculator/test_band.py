"""The definition of inside and outside, and that it agrees with what a plan trades."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calculator import CalculationRefused
from calculator.band import compare_account, compare_weights
from calculator.plan_types import CASH
from tests.calculator.makers import account, config, plan, quote, reasons, targets

BAND = Decimal(1)


def compared(weights, wanted, band=BAND, **options):
    return compare_weights(
        {name: Decimal(weight) for name, weight in weights.items()},
        {name: Decimal(weight) for name, weight in wanted.items()},
        band,
        **options,
    )


@pytest.mark.parametrize(
    ("weights", "wanted", "outside", "is_outside", "largest"),
    [
        ({"A": "0.5", CASH: "0.5"}, {"A": "0.5", CASH: "0.5"}, set(), False, "0"),
        ({"A": "0.509", CASH: "0.491"}, {"A": "0.5", CASH: "0.5"}, set(), False, "0.9"),
        ({"A": "0.51", CASH: "0.49"}, {"A": "0.5", CASH: "0.5"}, {"A", CASH}, True, "1"),
        # Neither symbol is outside; the deposit is, because cash counts.
        (
            {"A": "0.392", "B": "0.592", CASH: "0.016"},
            {"A": "0.4", "B": "0.6", CASH: "0"},
            {CASH},
            True,
            "1.6",
        ),
        ({"A": "1.005", CASH: "-0.005"}, {"A": "1", CASH: "0"}, set(), True, "0.5"),  # cash is owed
        ({"A": "0.98", "X": "0.02", CASH: "0"}, {"A": "0.98", CASH: "0.02"}, {"X", CASH}, True, "2"),
        ({"A": "0.5", CASH: "0.5"}, {}, {"A", CASH}, True, "50"),
    ],
)
def test_compare_weights_counts_symbols_and_cash(weights, wanted, outside, is_outside, largest):
    result = compared(weights, wanted)
    assert (result.outside, result.is_outside, result.largest_drift_pp) == (outside, is_outside, Decimal(largest))


def test_compare_weights_with_a_kept_position_does_not_count_it():
    result = compared({"A": "0.5", "X": "0.3", CASH: "0.2"}, {"A": "0.5", CASH: "0.2"}, kept=["X"])
    assert not result.is_outside and "X" not in result.drifts_pp


def test_compare_weights_with_small_drifts_in_one_direction_is_outside_without_cash():
    """Positions to sell take the place of cash: the targets together are still a band below."""
    result = compared({"A": "0.494", "B": "0.494", "X": "0.006", CASH: "0.006"}, {"A": "0.5", "B": "0.5", CASH: "0"})
    assert (result.outside, result.is_outside) == (frozenset(), True)


def test_compare_account_uses_reserve_and_policy_as_a_plan_does():
    state = account("10000", ("A", "500", "100"), ("X", "400", "100"))
    sold = compare_account(state, targets(A="1"), config(cash_reserve_percent="10", band_percent="1"))
    assert sold.target_weights == {"A": Decimal("0.9"), CASH: Decimal("0.1")}
    assert (sold.to_sell, sold.largest, sold.largest_drift_pp) == (["X"], "X", 40)
    kept = compare_account(state, targets(A="1"), config(unmanaged="keep", band_percent="1"))
    assert "X" not in kept.drifts_pp
    ignored = compare_account(state, targets(A="1"), config(unmanaged="ignore", band_percent="1"))
    assert ignored.weights == {"A": Decimal("0.83333333"), CASH: Decimal("0.16666667")}


@pytest.mark.parametrize(
    ("state", "wanted", "code"),
    [
        (account("100", ("A", "1", "100"), total="500"), {"A": "1"}, "account_data_mismatch"),
        (account("100"), {"A": "1.5"}, "weights_above_one"),
        (account("0", total="0"), {"A": "1"}, "total_value_not_positive"),
    ],
)
def test_compare_account_refuses_what_a_plan_refuses(state, wanted, code):
    with pytest.raises(CalculationRefused) as refusal:
        compare_account(state, targets(**wanted), config())
    assert refusal.value.code == code


shares = st.integers(min_value=0, max_value=400)


@given(held=st.lists(shares, min_size=3, max_size=3), cash=st.integers(min_value=0, max_value=20_000))
def test_account_is_outside_when_a_plan_treats_any_target_as_outside_its_band(held, cash):
    """The comparison uses marks alone, and agrees with the selection of a plan at the same prices."""
    prices = {"A": "100", "B": "50", "C": "20"}
    rows = [(symbol, str(n), prices[symbol]) for symbol, n in zip(prices, held, strict=True) if n]
    state = account(str(cash + 1000), *rows)
    wanted, band = targets(A="0.5", B="0.3", C="0.15"), "2"
    result = compare_account(state, wanted, config(band_percent=band))
    planned = plan(state, wanted, [quote(*one) for one in prices.items()], band_percent=band, one_share=False)
    inside = {symbol for symbol, reason in reasons(planned).items() if reason == "inside_band"}
    assert result.is_outside == (inside != set(prices))
    if not planned.plan.band_lifted:
        assert set(prices) - result.outside == inside
