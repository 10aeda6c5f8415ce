"""Replacements: scaled, the others make room, the sum stays."""

import json
from decimal import Decimal
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from calculator import AllocationItem, CalculationRefused, ReplacementLimits, ReplacementRule, apply_replacements

DATA = Path(__file__).parents[1] / "e2e" / "data"
LIMITS = ReplacementLimits()


def items(**weights):
    return [AllocationItem(symbol=symbol, weight=Decimal(weight)) for symbol, weight in weights.items()]


def rules(*rows):
    return [ReplacementRule(source=source, target=target, scale=Decimal(scale)) for source, target, scale in rows]


def after(*arguments):
    return {item.symbol: item.weight for item in apply_replacements(*arguments, LIMITS).items}


def test_the_published_example_with_the_set_ira():
    body = json.loads((DATA / "allocations.example.json").read_text(), parse_float=Decimal)
    published = [
        AllocationItem(symbol=row.get("ticker") or row["symbol"], weight=row["allocation"])
        for row in body["data"]["allocations"]
    ]
    rows = yaml.safe_load((DATA / "replacement-sets.yaml").read_text())["ira"]
    weights = after(
        published,
        [ReplacementRule(source=r["source"], target=r["target"], scale=Decimal(str(r["scale"]))) for r in rows],
    )
    assert (weights["VXX"], weights["PDBC"], weights["USDU"]) == (Decimal("0.03"), Decimal("0.06"), Decimal("0.05"))
    assert abs(weights["SPY"] - Decimal("0.34") * Decimal("0.86") / Decimal("0.87")) < Decimal("1e-9")
    assert sum(weights.values()) == 1


def test_without_a_matching_rule_nothing_changes():
    assert after(items(SPY="1"), rules(("DBC", "PDBC", "1"))) == {"SPY": Decimal(1)}


def test_two_sources_of_one_target_are_merged():
    assert after(items(A="0.5", B="0.3", C="0.2"), rules(("A", "X", "1"), ("B", "X", "1"))) == {
        "X": Decimal("0.8"),
        "C": Decimal("0.2"),
    }


def test_a_target_that_is_there_already_is_merged():
    assert after(items(A="0.5", X="0.3", C="0.2"), rules(("A", "X", "1")))["X"] == Decimal("0.8")


def test_a_sum_below_one_is_preserved():
    assert sum(after(items(A="0.2", B="0.6"), rules(("A", "X", "1.5"))).values()) == Decimal("0.8")


def test_replacements_that_leave_no_room_are_refused():
    with pytest.raises(CalculationRefused) as caught:
        after(items(A="0.8", B="0.2"), rules(("A", "X", "1.5")))
    assert caught.value.code == "replacement_no_room"


def test_weights_with_more_digits_than_a_sum_can_have_are_refused_where_no_difference_is_allowed():
    wanted = items(
        A="0.1548353256916095724175401825", B="0.1956877493256852908966968032", C="0.01219108950200731494100408045"
    )
    rows = rules(("A", "X", "1"))
    assert after(wanted, rows)["X"] == Decimal("0.1548353256916095724175401825")
    with pytest.raises(CalculationRefused) as caught:
        apply_replacements(wanted, rows, LIMITS.model_copy(update={"normalization_failure_threshold": Decimal(0)}))
    assert caught.value.code == "replacement_sum_off"


def test_two_rules_for_one_source_are_refused():
    with pytest.raises(CalculationRefused) as caught:
        after(items(A="1"), rules(("A", "X", "1"), ("A", "Y", "1")))
    assert caught.value.code == "replacement_duplicate_source"


@given(st.lists(st.integers(1, 1000), min_size=2, max_size=20), st.sampled_from(["0.5", "1", "1.5", "2"]))
def test_the_sum_is_what_it_was_to_the_last_digit(parts, scale):
    weights = {f"S{i}": str(Decimal(part) / 100_000) for i, part in enumerate(parts)}
    try:
        result = after(items(**weights), rules(("S0", "X", scale)))
    except CalculationRefused as refusal:
        assert refusal.code == "replacement_no_room"
        return
    assert sum(result.values()) == sum(Decimal(weight) for weight in weights.values())
