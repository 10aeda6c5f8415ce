"""Decide which symbols may be traded and within which bounds: liquidations, band, first shares, frozen symbols."""

from dataclasses import dataclass, field
from decimal import ROUND_CEILING, Decimal

from calculator.errors import CalculationRefused
from calculator.fixed_point import from_micro, to_micro
from calculator.holdings import Holdings, Line
from calculator.plan_types import CalculationWarning, NotTraded


@dataclass
class Selection:
    """The decision for every symbol, before any sizing."""

    liquidate: dict[str, int] = field(default_factory=dict)  # whole shares to sell, by symbol
    proceeds: int = 0  # of the liquidations at the bid, less commissions, in micro-dollars
    one_share: set[str] = field(default_factory=set)  # missing targets that get a first share
    free: list[Line] = field(default_factory=list)  # targets that are sized
    minimum: list[int] = field(default_factory=list)  # whole shares that each of them keeps
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
    _select_first_shares(targets, holdings, selection)
    one_share, first_shares = holdings.config.one_share, selection.one_share
    for line in targets:
        is_first = line.symbol in first_shares
        if line.symbol in inside and not is_first:
            selection.leave_untraded(
                line.symbol, "inside_band", f"Drift of {_drift_pp(line, holdings):+.2f} pp is inside the band."
            )
            continue
        keeps = one_share and (line.whole_held >= 1 or is_first) and line.target > 0
        selection.free.append(line)
        selection.minimum.append(1 if keeps else 0)
    return selection


def _freeze(holdings: Holdings, selection: Selection) -> None:
    frozen = [line for line in holdings.lines if not line.tradable and (line.is_target or line.held)]
    frozen_value = sum(max(abs(line.value), line.target) for line in frozen)
    if frozen_value * 100 > holdings.config.max_frozen_percent * holdings.total:
        symbols = ", ".join(line.symbol for line in frozen)
        raise CalculationRefused(
            "too_much_frozen",
            # Positions and targets overlap: together they can exceed the account.
            f"{min(Decimal(frozen_value) / holdings.total, Decimal(1)) * 100:.1f} % of the account has no valid quote "
            f"({symbols}); the policy allows {holdings.config.max_frozen_percent.normalize():f} %.",
        )
    for line in frozen:
        reason = "below_tick" if line.bid else "no_valid_quote"
        detail = "The bid is below the smallest price step." if line.bid else "No valid quote."
        selection.leave_untraded(line.symbol, reason, detail)
        selection.warnings.append(
            CalculationWarning(code="symbol_frozen", message=f"{line.symbol} is not traded: {detail}")
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
            CalculationWarning(code="fraction_stays", message=f"{fraction:f} of a share of {line.symbol} remains.")
        )


def _inside_band(targets: list[Line], holdings: Holdings, selection: Selection) -> set[str]:
    """Return the targets whose drift is inside the band; none if together they would hide a deposit or a debit."""
    # Rounded up to an integer: integers compare faster, and the same integers are below it.
    band = int((holdings.total * holdings.config.band_percent / 100).to_integral_value(ROUND_CEILING))
    inside = [line for line in targets if abs(line.value - line.target) < band]
    combined = abs(sum(line.value - line.target for line in inside))
    if inside and (combined >= band or holdings.cash < 0):
        selection.band_lifted = True
        return set()
    return {line.symbol for line in inside}


def _select_first_shares(targets: list[Line], holdings: Holdings, selection: Selection) -> None:
    """Give each missing target one share, in order of weight, from cash, liquidations and sells above target."""
    missing = [line for line in targets if line.whole_held == 0 and line.target > 0]
    if not missing or not holdings.config.one_share:
        return
    charge = holdings.charge
    costs = {line.symbol: line.buy_limit + charge(1, line.buy_limit) for line in missing}
    money = holdings.cash - holdings.cash_floor + selection.proceeds
    if money < sum(costs.values()):
        money += _natural_sells(targets, holdings)
    maximum = to_micro(from_micro(holdings.total) * holdings.config.one_share_max_overshoot_percent / 100)
    for line in sorted(missing, key=lambda line: (-line.weight, line.symbol)):
        cost = costs[line.symbol]
        fits, overshoots = cost <= money, line.value_at(1) - line.target > maximum
        if fits and not overshoots:
            selection.one_share.add(line.symbol)
            money -= cost
        else:
            why = "one share is too far above its target" if overshoots else "not enough cash"
            selection.warnings.append(
                CalculationWarning(code="one_share_skipped", message=f"No share of {line.symbol}: {why}.")
            )


def _natural_sells(targets: list[Line], holdings: Holdings) -> int:
    """Return the proceeds of all shares above the targets, in micro-dollars; each target keeps one share."""
    proceeds, charge = 0, holdings.charge
    for line in targets:
        if line.value > line.target and line.whole_held > 1:
            shares = min((line.value - line.target) // line.mark, line.whole_held - 1)
            proceeds += shares * line.bid - charge(shares, shares * line.bid)
    return proceeds


def _drift_pp(line: Line, holdings: Holdings) -> Decimal:
    return Decimal(line.value - line.target) / holdings.total * 100
