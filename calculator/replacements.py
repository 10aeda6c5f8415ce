"""Replace symbols: the target receives the source's weight times a scale; the other weights are rescaled.

The sum of all weights is unchanged to the last digit. Several sources may have one target, and a target may already be
in the strategy: their weights are added.
"""

from collections.abc import Sequence
from decimal import ROUND_HALF_EVEN, Decimal

from calculator.errors import CalculationRefused
from calculator.formats import percent
from calculator.plan_types import AllocationItem, CalculationWarning, Number, Value

PLACES = Decimal("0.000000000001")


class ReplacementRule(Value):
    """The weight of `source` becomes weight of `target`, times `scale`."""

    source: str
    target: str
    scale: Number = Decimal(1)


class ReplacementLimits(Value):
    """Limits for rescaling the weights that are not replaced."""

    normalization_trigger_threshold: Number = Decimal("0.0001")
    normalization_failure_threshold: Number = Decimal("0.01")
    minimal_non_replaced_allocation_percent: Number = Decimal("0.1")


class ReplacementResult(Value):
    """Weights after the replacements, and the rules that applied."""

    items: tuple[AllocationItem, ...]
    applied: tuple[ReplacementRule, ...]
    warnings: tuple[CalculationWarning, ...] = ()


def apply_replacements(
    items: Sequence[AllocationItem], rules: Sequence[ReplacementRule], limits: ReplacementLimits
) -> ReplacementResult:
    """Apply each rule once.

    Returns:
        The weights, sorted by descending weight, then by symbol.

    Raises:
        CalculationRefused: `replacement_no_room`, `replacement_sum_off`, `replacement_duplicate_source`.
    """
    by_source = {rule.source: rule for rule in rules}
    if len(by_source) < len(rules):
        raise CalculationRefused(
            "replacement_duplicate_source",
            "Two rules of the replacement set have the same source. Remove one.",
        )
    applied = tuple(by_source[item.symbol] for item in items if item.symbol in by_source)
    if not applied:
        return ReplacementResult(items=tuple(items), applied=())
    total = sum((item.weight for item in items), Decimal(0))
    replaced: dict[str, Decimal] = {}
    others: dict[str, Decimal] = {}
    for item in items:
        rule = by_source.get(item.symbol)
        if rule is None:
            others[item.symbol] = others.get(item.symbol, Decimal(0)) + item.weight
        else:
            replaced[rule.target] = replaced.get(rule.target, Decimal(0)) + item.weight * rule.scale
    others = _make_room(others, total - sum(replaced.values(), Decimal(0)), limits)
    merged = dict(others)
    for symbol, weight in replaced.items():
        merged[symbol] = merged.get(symbol, Decimal(0)) + weight
    # Differs only in the last of 28 digits, for weights with that many.
    off = abs(sum(merged.values(), Decimal(0)) - total)
    if off > limits.normalization_failure_threshold:
        raise CalculationRefused(
            "replacement_sum_off",
            f"After the replacements the sum of the weights differs by {off.normalize():f}. Publish weights with fewer "
            "digits, or allow a larger difference in the policy.",
        )
    ordered = sorted(merged.items(), key=lambda pair: (-pair[1], pair[0]))
    return ReplacementResult(
        items=tuple(AllocationItem(symbol=symbol, weight=weight) for symbol, weight in ordered),
        applied=applied,
    )


def _make_room(others: dict[str, Decimal], room: Decimal, limits: ReplacementLimits) -> dict[str, Decimal]:
    """Scale the weights that are not replaced so that they add up to `room`."""
    current = sum(others.values(), Decimal(0))
    if current == room:
        return others
    if others and abs(current - room) <= limits.normalization_trigger_threshold:
        return _with_rest(others, room)  # too small a difference to rescale every weight
    if current <= 0 <= room:
        raise CalculationRefused(
            "replacement_no_room",
            f"The replacements cover every weight and leave {percent(room * 100, 2)} to no symbol. Raise the scales, "
            "so that the sum of the weights stays the same.",
        )
    if room * 100 < limits.minimal_non_replaced_allocation_percent:
        raise CalculationRefused(
            "replacement_no_room",
            f"The replacements leave {percent(max(room, Decimal(0)) * 100, 2)} for the weights that are not replaced; "
            f"the minimum is {percent(limits.minimal_non_replaced_allocation_percent, None)}. Lower the scales.",
        )
    scaled = {symbol: (weight * room / current).quantize(PLACES, ROUND_HALF_EVEN) for symbol, weight in others.items()}
    return _with_rest(scaled, room)


def _with_rest(weights: dict[str, Decimal], room: Decimal) -> dict[str, Decimal]:
    """Add the remainder to the largest weight, so that the sum is exact."""
    largest = max(weights, key=lambda symbol: (weights[symbol], symbol))
    return weights | {largest: weights[largest] + room - sum(weights.values(), Decimal(0))}
