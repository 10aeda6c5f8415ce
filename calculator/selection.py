"""Decide which symbols may be traded and within which bounds: liquidations, band, first shares, frozen symbols."""

from dataclasses import dataclass, field
from decimal import ROUND_CEILING, Decimal

from calculator.errors import CalculationRefused
from calculator.first_shares import NO_FIRST_SHARES, FirstShares, choose_first_shares
from calculator.formats import percent, signed_points
from calculator.holdings import Holdings
from calculator.line import Line
from calculator.model_base import range_bounds, treatment
from calculator.plan_types import CalculationWarning, NotTraded
from calculator.share_bounds import share_bounds
from calculator.texts import clipped, listed

RULE_REASONS = {"hold": "held_by_rule", "no_sell": "no_sell_rule", "range": "range_rule"}
"""Reason why a position without weight stays, by rule."""
RULE_DETAILS = {
    "held_by_rule": "A rule keeps the position as it is.",
    "no_buy_rule": "A rule allows no buys.",
    "no_sell_rule": "A rule allows no sells.",
    "close_rule": "A rule closes the position.",
    "range_rule": "A rule sets a range of shares.",
}


@dataclass
class Selection:
    """The decision for every symbol, before any sizing."""

    liquidate: dict[str, int] = field(default_factory=dict)  # whole shares to sell outside the sizing, by symbol
    given_reasons: dict[str, str] = field(default_factory=dict)  # reason of trades that no target explains
    proceeds: int = 0  # of the liquidations at the bid, less commissions, in micro-dollars
    first_shares: FirstShares = NO_FIRST_SHARES
    free: list[Line] = field(default_factory=list)  # targets that are sized
    minimum: list[int] = field(default_factory=list)  # whole shares that each of them keeps or gets
    maximum: list[int] = field(default_factory=list)  # whole shares that a buy of each may lead to
    band: int = 0  # drift from which a target is traded, in micro-dollars
    band_lifted: bool = False
    not_traded: list[NotTraded] = field(default_factory=list)
    warnings: list[CalculationWarning] = field(default_factory=list)

    def leave_untraded(self, symbol: str, reason: str, detail: str) -> None:
        """Record that a symbol is not traded, with the reason."""
        self.not_traded.append(NotTraded.trusted({"symbol": symbol, "reason": reason, "detail": detail}))


def start_selection(holdings: Holdings) -> Selection:
    """Return a selection with what cannot be traded, whatever is asked for.

    Raises:
        CalculationRefused: `too_much_frozen`.
    """
    selection = Selection()
    for position in holdings.others:
        label = position.contract or position.symbol
        selection.leave_untraded(label, "other_contract", "Not the contract that an order would trade; counted only.")
    _freeze(holdings, selection)
    _warn_of_ranges(holdings, selection)
    return selection


def select(holdings: Holdings) -> Selection:
    """Decide for every symbol.

    Raises:
        CalculationRefused: `too_much_frozen`.
    """
    selection = start_selection(holdings)
    targets = []
    for line in holdings.lines:
        if not line.is_target:
            _select_outside(line, holdings, selection)
        elif line.symbol in holdings.pins:
            targets += _select_pinned(line, holdings, selection)
        elif line.tradable:
            targets.append(line)
    inside = _inside_band(targets, holdings, selection)
    bounds = share_bounds(holdings)
    moving = [line for line in targets if line.symbol not in inside]
    may_be_bought = [line for line in targets if may_buy(line, holdings)]
    first = choose_first_shares(may_be_bought, moving, bounds, holdings, selection.proceeds)
    selection.first_shares = first
    for line in targets:
        is_first = line.symbol in first.chosen
        if line.symbol in inside and not is_first:
            drift = signed_points(_drift_pp(line, holdings), 2)
            selection.leave_untraded(line.symbol, "inside_band", f"Drift of {drift} is inside the band.")
            continue
        keeps = is_first or (line.whole_held >= 1 and bounds.is_promised(line))
        least, most = allowed_shares(line, holdings)
        selection.free.append(line)
        most = bounds.most(line) if most is None else min(bounds.most(line), most)
        selection.minimum.append(min(max(int(keeps), least), most))
        selection.maximum.append(most)
    return selection


def may_buy(line: Line, holdings: Holdings) -> bool:
    """Return whether the rules allow a share more of a line."""
    _, most = allowed_shares(line, holdings)
    return most is None or line.whole_held < most


def allowed_shares(line: Line, holdings: Holdings) -> tuple[int, int | None]:
    """Return the fewest whole shares that a sale may leave by the rules, and the most that a buy may lead to.

    A range that more is held than it allows has to be sold; one that less is held is bought as far as money reaches.
    """
    rule = holdings.rules.get(line.symbol)
    if rule is None:
        return 0, None
    if rule.rule == "range":
        bounds = range_bounds(rule, line)
        return min(bounds.least, line.whole_held), bounds.most
    least = 0 if rule.rule in {"no_buy", "close"} else line.whole_held
    return least, None if rule.rule == "no_sell" else line.whole_held


def _select_pinned(line: Line, holdings: Holdings, selection: Selection) -> list[Line]:
    """Decide for a target that does not have its share; return it if it is sized, to the bound of its range."""
    reason = holdings.pins[line.symbol]
    if not line.tradable and _needs_quote(line, holdings):
        return []
    if reason == "close_rule" and line.whole_held:
        _liquidate(line, line.whole_held, reason, holdings, selection)
    elif reason == "range_rule" and line.value != line.target:
        selection.given_reasons[line.symbol] = reason
        return [line]
    else:
        selection.leave_untraded(line.symbol, reason, RULE_DETAILS[reason])
    return []


def _needs_quote(line: Line, holdings: Holdings) -> bool:
    """Return whether a line would be traded, now or later, if it had a quote."""
    if line.is_target:
        return holdings.pins.get(line.symbol) not in {"held_by_rule", "no_buy_rule", "no_sell_rule"}
    return line.held != 0 and (line.held < 0 or line.kept < line.whole_held or not line.target)


def _freeze(holdings: Holdings, selection: Selection) -> None:
    frozen = [line for line in holdings.lines if not line.tradable and _needs_quote(line, holdings)]
    frozen_value = sum(max(abs(line.value), line.target) for line in frozen)
    if frozen_value * 100 > holdings.config.max_frozen_percent * holdings.total:
        unquoted = [line.symbol for line in frozen if not line.bid]
        below_tick = [line.symbol for line in frozen if line.bid]
        reasons = [f"no valid quote: {listed(unquoted)}"] * bool(unquoted)
        reasons += [f"bid below the smallest price step: {listed(below_tick)}"] * bool(below_tick)
        what_to_do = "Try again when there is one." if unquoted else "Remove the symbol from the targets."
        raise CalculationRefused(
            "too_much_frozen",
            # Positions and targets overlap: together they can exceed the account.
            f"{percent(min(Decimal(frozen_value) / holdings.total, Decimal(1)) * 100)} of the account cannot be traded "
            f"({'; '.join(reasons)}); the policy allows {percent(holdings.config.max_frozen_percent, None)}. "
            f"{what_to_do}",
        )
    for line in frozen:
        reason = "below_tick" if line.bid else "no_valid_quote"
        detail = "The bid is below the smallest price step." if line.bid else "No valid quote."
        selection.leave_untraded(line.symbol, reason, detail)
        selection.warnings.append(
            CalculationWarning(code="symbol_frozen", message=f"{clipped(line.symbol)} is not traded: {detail}")
        )


def _select_outside(line: Line, holdings: Holdings, selection: Selection) -> None:
    """Decide for a symbol without weight: what does not stay is sold."""
    if not line.held or (not line.tradable and _needs_quote(line, holdings)):
        return
    if line.kept < line.whole_held:
        _liquidate(line, line.whole_held - line.kept, reason_outside(line, holdings), holdings, selection)
    else:
        leave_outside(line, holdings, selection)


def leave_outside(line: Line, holdings: Holdings, selection: Selection) -> None:
    """Record why a position without weight is not sold, though the plan sells what is outside the model."""
    if line.held < 0:
        selection.leave_untraded(line.symbol, "short_kept", "Short position that the policy keeps.")
        return
    if not line.target:
        selection.leave_untraded(line.symbol, "fraction_only", "Less than one share is held; fractions are not sold.")
        _warn_of_fraction(line, selection)
        return
    reason = _reason_kept(line, holdings)
    selection.leave_untraded(line.symbol, reason, RULE_DETAILS.get(reason, "Not a target; the policy keeps it."))
    if reason == "kept" and treatment(line.symbol, holdings.config) == "ask":
        selection.warnings.append(
            CalculationWarning(
                code="outside_model_ask",
                message=f"{clipped(line.symbol)} is not a target. It is kept until a user decides.",
            )
        )


def reason_outside(line: Line, holdings: Holdings) -> str:
    """Return why a position without weight is sold."""
    rule = holdings.rules.get(line.symbol)
    if rule and rule.rule == "close":
        return "close_rule"
    return "range_rule" if rule and rule.rule == "range" and line.kept else "not_a_target"


def _reason_kept(line: Line, holdings: Holdings) -> str:
    rule = holdings.rules.get(line.symbol)
    return RULE_REASONS.get(rule.rule, "kept") if rule else "kept"


def _liquidate(line: Line, shares: int, reason: str, holdings: Holdings, selection: Selection) -> None:
    """Sell whole shares outside the sizing."""
    selection.liquidate[line.symbol] = shares
    selection.given_reasons[line.symbol] = reason
    proceeds = shares * line.bid
    selection.proceeds += proceeds - holdings.charge(shares, proceeds)
    if shares == line.whole_held:
        _warn_of_fraction(line, selection)


def _warn_of_fraction(line: Line, selection: Selection) -> None:
    if line.held != line.held.to_integral_value():
        fraction = (line.held - line.whole_held).normalize()
        selection.warnings.append(
            CalculationWarning(
                code="fraction_stays",
                message=f"{clipped(f'{fraction:f}')} of a share of {clipped(line.symbol)} remains.",
            )
        )


def _warn_of_ranges(holdings: Holdings, selection: Selection) -> None:
    for line in holdings.lines:
        rule = holdings.rules.get(line.symbol)
        if rule and rule.rule == "range" and not range_bounds(rule, line).is_reachable:
            selection.warnings.append(
                CalculationWarning(
                    code="range_unreachable",
                    message=f"No number of whole shares brings {clipped(line.symbol)} into its range.",
                )
            )


def _inside_band(targets: list[Line], holdings: Holdings, selection: Selection) -> set[str]:
    """Return the targets whose drift is inside the band; none if together they would hide a deposit or a debit."""
    # Rounded up to an integer: integers compare faster, and the same integers are below it.
    band = int((holdings.total * holdings.config.band_percent / 100).to_integral_value(ROUND_CEILING))
    selection.band = band
    inside = [line for line in targets if abs(line.value - line.target) < band and line.symbol not in holdings.pins]
    combined = abs(sum(line.value - line.target for line in inside))
    if inside and (combined >= band or holdings.cash < 0):
        selection.band_lifted = True
        return set()
    return {line.symbol for line in inside}


def _drift_pp(line: Line, holdings: Holdings) -> Decimal:
    return Decimal(line.value - line.target) / holdings.total * 100
