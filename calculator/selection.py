"""Decide which symbols may be traded and within which bounds: liquidations, band, first shares, frozen symbols."""

from dataclasses import dataclass, field
from decimal import ROUND_CEILING, Decimal

from calculator.errors import CalculationRefused
from calculator.first_shares import NO_FIRST_SHARES, FirstShares, choose_first_shares
from calculator.formats import percent, signed_points
from calculator.holdings import Holdings, Line
from calculator.plan_types import CalculationWarning, NotTraded
from calculator.share_bounds import share_bounds
from calculator.texts import clipped, listed


@dataclass
class Selection:
    """The decision for every symbol, before any sizing."""

    liquidate: dict[str, int] = field(default_factory=dict)  # whole shares to sell, by symbol
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


def select(holdings: Holdings) -> Selection:
    """Decide for every symbol.

    Raises:
        CalculationRefused: `too_much_frozen`.
    """
    selection = Selection()
    for position in holdings.others:
        label = position.contract or position.symbol
        selection.leave_untraded(label, "other_contract", "Not the contract that an order would trade; counted only.")
    _freeze(holdings, selection)
    targets = []
    for line in holdings.lines:
        if not line.is_target:
            _select_unmanaged(line, holdings, selection)
        elif line.tradable:
            targets.append(line)
    inside = _inside_band(targets, holdings, selection)
    bounds = share_bounds(holdings)
    moving = [line for line in targets if line.symbol not in inside]
    first = choose_first_shares(targets, moving, bounds, holdings, selection.proceeds)
    selection.first_shares = first
    for line in targets:
        is_first = line.symbol in first.chosen
        if line.symbol in inside and not is_first:
            drift = signed_points(_drift_pp(line, holdings), 2)
            selection.leave_untraded(line.symbol, "inside_band", f"Drift of {drift} is inside the band.")
            continue
        keeps = is_first or (line.whole_held >= 1 and bounds.is_promised(line))
        selection.free.append(line)
        selection.minimum.append(int(keeps))
        selection.maximum.append(bounds.most(line))
    return selection


def _freeze(holdings: Holdings, selection: Selection) -> None:
    frozen = [line for line in holdings.lines if not line.tradable and (line.is_target or line.held)]
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


def _select_unmanaged(line: Line, holdings: Holdings, selection: Selection) -> None:
    if not line.tradable or not line.held:
        return
    if line.held < 0:
        selection.leave_untraded(line.symbol, "short_kept", "Short position that the policy keeps.")
    elif holdings.config.unmanaged == "keep":
        selection.leave_untraded(line.symbol, "kept", "Not a target; the policy keeps it.")
    elif line.whole_held == 0:
        selection.leave_untraded(line.symbol, "fraction_only", "Less than one share is held; fractions are not sold.")
    else:
        selection.liquidate[line.symbol] = line.whole_held
        proceeds = line.whole_held * line.bid
        selection.proceeds += proceeds - holdings.charge(line.whole_held, proceeds)
    if 0 < line.held != line.held.to_integral_value() and holdings.config.unmanaged == "sell":
        fraction = (line.held - line.whole_held).normalize()
        selection.warnings.append(
            CalculationWarning(
                code="fraction_stays",
                message=f"{clipped(f'{fraction:f}')} of a share of {clipped(line.symbol)} remains.",
            )
        )


def _inside_band(targets: list[Line], holdings: Holdings, selection: Selection) -> set[str]:
    """Return the targets whose drift is inside the band; none if together they would hide a deposit or a debit."""
    # Rounded up to an integer: integers compare faster, and the same integers are below it.
    band = int((holdings.total * holdings.config.band_percent / 100).to_integral_value(ROUND_CEILING))
    selection.band = band
    inside = [line for line in targets if abs(line.value - line.target) < band]
    combined = abs(sum(line.value - line.target for line in inside))
    if inside and (combined >= band or holdings.cash < 0):
        selection.band_lifted = True
        return set()
    return {line.symbol for line in inside}


def _drift_pp(line: Line, holdings: Holdings) -> Decimal:
    return Decimal(line.value - line.target) / holdings.total * 100
