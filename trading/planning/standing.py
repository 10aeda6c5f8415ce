"""Decide the standing of an account: its snapshot beside today's targets and policy. No database, no clock."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from calculator import AccountConfig, AccountState, AllocationItem, CalculationRefused, Quote, TradeCalculator
from calculator.band import KEPT_REASONS, BandComparison, compare_account, compare_weights
from calculator.formats import points
from calculator.plan_types import CASH
from calculator.texts import listed
from trading.errors import TradingError
from trading.models import RebalanceRun, StandingState
from trading.models.run_documents import stored_weights
from trading.planning.standing_basis import StandingBasis


@dataclass(frozen=True)
class Standing:
    """The standing of an account.

    Attributes:
        state: inside, outside, or unknown if the data or the targets do not allow a comparison.
        code: code of the reason.
        reason: why, in one sentence.
        comparison: None while unknown.
    """

    state: StandingState
    code: str
    reason: str
    comparison: BandComparison | None = None


def judge(account: AccountState, basis: StandingBasis, quotes: Sequence[Quote] = ()) -> Standing:
    """Return the standing of an account.

    An account outside its band stands inside if no trade of whole shares brings it closer to its targets.

    Args:
        account: the account, whose positions have the broker's marks.
        basis: what it is compared with.
        quotes: latest quotes of targets that it does not hold.
    """
    unpriced = [one.symbol for one in account.positions if one.market_price is None]
    if unpriced:
        message = f"The broker reports no price for {listed(sorted(unpriced))}. Refresh the account later."
        return Standing(StandingState.UNKNOWN, "position_without_price", message)
    try:
        targets = basis.targets()
        comparison = compare_account(account, targets, basis.policy.sizing)
    except (CalculationRefused, TradingError) as refusal:
        return Standing(StandingState.UNKNOWN, refusal.code, refusal.message)
    code, reason = _reason(comparison)
    if not comparison.is_outside:
        return Standing(StandingState.INSIDE, code, reason, comparison)
    if not _can_trade(account, targets, quotes, basis.policy.sizing):
        reason = f"{reason} No trade of whole shares would bring the account closer."
        return Standing(StandingState.INSIDE, "no_trade_helps", reason, comparison)
    return Standing(StandingState.OUTSIDE, code, reason, comparison)


def unpriced_targets(account: AccountState, basis: StandingBasis) -> list[str]:
    """Return the symbols of targets that the account does not hold, so that it has no marks of them."""
    try:
        wanted = {target.symbol for target in basis.targets()}
    except TradingError:
        return []
    return sorted(wanted - {one.symbol for one in account.positions if one.tradable})


def _can_trade(
    account: AccountState, targets: Sequence[AllocationItem], quotes: Sequence[Quote], config: AccountConfig
) -> bool:
    """Return whether a plan at the marks has a trade; also if that cannot be known without a quote."""
    marks = {one.symbol: one.market_price for one in account.positions if one.tradable and one.market_price}
    known = {quote.symbol: quote for quote in quotes}
    known |= {symbol: Quote(symbol=symbol, bid=mark, ask=mark) for symbol, mark in marks.items()}
    if any(target.weight and target.symbol not in known for target in targets):
        return True
    try:
        return bool(TradeCalculator(config).plan(account, targets, list(known.values())).trades)
    except CalculationRefused:
        return True


def compare_run(run: RebalanceRun) -> BandComparison | None:
    """Return the comparison that the plan of a run was made from; None without a plan."""
    if not run.result:
        return None
    kept = {item["symbol"] for item in run.result.get("not_traded", ()) if item["reason"] in KEPT_REASONS}
    return compare_weights(
        stored_weights(run.result.get("before", {}).get("weights")),
        stored_weights(run.result.get("target_weights")),
        Decimal(str((run.policy or {}).get("allocation_threshold_percent", "0"))),
        kept=kept,
    )


def actual_weights(account: AccountState) -> dict[str, Decimal]:
    """Return the weights of an account without comparing it: of each tradable position, and of cash."""
    total = account.total_value_usd
    if total <= 0:
        return {}
    weights: dict[str, Decimal] = {}
    for one in account.positions:
        if one.tradable and one.market_price is not None:
            weights[one.symbol] = weights.get(one.symbol, Decimal(0)) + one.quantity * one.market_price / total
    return weights | {CASH: account.cash_usd / total}


def _reason(comparison: BandComparison) -> tuple[str, str]:
    """Return the code and the sentence of a comparison."""
    band = f"±{comparison.band_percent.normalize():f} pp"
    if comparison.outside:
        return "drift_outside_band", _drift_sentence(comparison.drifts_pp, comparison.largest)
    if comparison.weights.get(CASH, Decimal(0)) < 0:
        return "cash_negative", "Cash is negative."
    if comparison.is_outside:
        return "combined_drift", f"Together, the drifts inside {band} would hide a deposit or a withdrawal."
    if to_sell := [name for name in comparison.to_sell if comparison.drifts_pp[name]]:
        return "position_to_sell", f"All drifts are inside {band}. Not a target, will be sold: {listed(to_sell)}."
    return "drift_inside_band", f"All drifts are inside {band}."


def _drift_sentence(drifts_pp: Mapping[str, Decimal], symbol: str) -> str:
    drift = drifts_pp[symbol]
    side = "above" if drift > 0 else "below"
    name = "Cash" if symbol == CASH else symbol
    return f"{name} is {points(abs(drift))} {side} its target."
