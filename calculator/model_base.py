"""The base of the model: the value that the weights are fractions of, and the target value of every line.

Positions outside the model that stay are no part of the base. A target that a rule keeps from its share is pinned, and
the other targets divide what is left.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from calculator.line import ZERO, Line
from calculator.plan_types import AccountConfig, OutsideModel, SymbolRule

Rules = Mapping[str, SymbolRule]

STAYING = frozenset({"hold", "no_sell"})
"""Rules under which a position that is no target stays."""


@dataclass(frozen=True)
class RangeBounds:
    """Fewest and most whole shares that a range allows beside a held fraction; no maximum is None."""

    least: int
    most: int | None
    is_reachable: bool = True
    """Whether some number of whole shares, with the fraction, is inside the range."""

    def clamp(self, shares: int) -> int:
        """Return the whole shares nearest to `shares` that the range allows."""
        return max(self.least, shares if self.most is None else min(shares, self.most))


def range_bounds(rule: SymbolRule, line: Line) -> RangeBounds:
    """Return the bounds of a range for a line, whose held fraction counts.

    Where no number of whole shares is inside the range, a sale ends above it and a buy below it, by less than a share.
    """
    part = line.held - line.whole_held if line.held > 0 else ZERO
    least = max(0, int(((rule.minimum_shares or ZERO) - part).to_integral_value(ROUND_CEILING)))
    if rule.maximum_shares is None:
        return RangeBounds(least, None)
    most = int((rule.maximum_shares - part).to_integral_value(ROUND_FLOOR))
    if most >= least:
        return RangeBounds(least, most)
    nearest = least if line.whole_held >= least else max(0, most)
    return RangeBounds(nearest, nearest, is_reachable=False)


def treatment(symbol: str, config: AccountConfig) -> OutsideModel:
    """Return what happens to a position in a symbol that is no target."""
    return config.outside_model_of.get(symbol, config.outside_model)


def is_ignored(symbol: str, config: AccountConfig, rules: Rules) -> bool:
    """Return whether a position in a symbol that is no target is not even counted."""
    return symbol not in rules and treatment(symbol, config) == "ignore"


def keep_outside(line: Line, config: AccountConfig, rules: Rules) -> None:
    """Set the shares of a line without target that stay, and their value as its target."""
    rule = rules.get(line.symbol)
    kind = rule.rule if rule else ""
    stays = line.held < 0 or kind in STAYING
    sells_all = not stays and (kind == "close" or treatment(line.symbol, config) == "sell")
    line.kept = 0 if sells_all else line.whole_held
    if rule and kind == "range":
        line.kept = min(range_bounds(rule, line).clamp(line.kept), line.whole_held)
    # A fraction that a sale leaves is not kept: it only cannot be sold.
    line.target = line.kept * line.mark if sells_all else line.value_at(line.kept)


def share_out(lines: Sequence[Line], base: int, rules: Rules) -> dict[str, str]:
    """Set the target values of the lines with a weight; return the reason for each pinned symbol.

    Free lines share the base, less the values of the pinned lines, in proportion to their weights. `hold` is pinned
    at its held value and `close` at 0. A line that would have to trade in a direction that its rule forbids is pinned
    at what the rule allows, and the rest is shared out again.

    Args:
        lines: the lines with a weight.
        base: the base of the model, in micro-dollars.
        rules: the rules in force, by symbol.
    """
    weight = sum([line.weight for line in lines], ZERO)
    _set_targets(lines, base / max(Decimal(1), weight))  # weights above 1 are scaled to 1
    if not rules:
        return {}
    pins: dict[str, str] = {}
    for line in lines:
        rule = rules.get(line.symbol)
        if rule and rule.rule in {"hold", "close"}:
            line.target = line.value if rule.rule == "hold" else 0
            pins[line.symbol] = "held_by_rule" if rule.rule == "hold" else "close_rule"
    while True:
        free = [line for line in lines if line.symbol not in pins]
        if pins:
            pinned = sum([line.target for line in lines if line.symbol in pins])
            free_weight = sum([line.weight for line in free], ZERO)
            left = max(ZERO, base * min(Decimal(1), weight) - pinned)
            _set_targets(free, left / free_weight if free_weight else ZERO)
        allowed = [(line, _allowed(line, rules[line.symbol])) for line in free if line.symbol in rules]
        above = [(line, value) for line, value in allowed if value > line.target]
        below = [(line, value) for line, value in allowed if value < line.target]
        if not above and not below:
            return pins
        surplus = sum([value - line.target for line, value in above])
        shortage = sum([line.target - value for line, value in below])
        for line, value in (*(above if surplus >= shortage else ()), *(below if shortage >= surplus else ())):
            line.target = value
            pins[line.symbol] = f"{rules[line.symbol].rule}_rule"


def _set_targets(lines: Sequence[Line], whole: Decimal) -> None:
    for line in lines:
        line.target = round(line.weight * whole)


def _allowed(line: Line, rule: SymbolRule) -> int:
    """Return the value nearest to the line's target that its rule allows, in micro-dollars."""
    if rule.rule == "no_sell":
        return max(line.value, line.target)
    if rule.rule == "no_buy":
        return min(line.value, line.target)
    bounds = range_bounds(rule, line)
    most = line.target if bounds.most is None else min(line.target, line.value_at(bounds.most))
    return max(most, line.value_at(bounds.least)) if bounds.least else most
