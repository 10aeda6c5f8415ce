"""Compare an account with its targets: the drift of each symbol and of cash, and whether the account is in its band.

This is the one definition of inside and outside. It follows `selection.py`: a plan trades a target whose drift is at
least the band, and every target if the others together would hide a deposit or a debit. That sum is the drift of cash
with the opposite sign, so cash counts like a symbol: an account whose cash is off by the band or more is outside, and
so is one that owes cash. Positions that the policy keeps are not counted, because no plan changes them.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from calculator.holdings import Holdings, make_holdings
from calculator.plan_types import CASH, AccountConfig, AccountState, AllocationItem
from calculator.projection import Projector
from calculator.validation import check_account, check_config, weights_by_symbol

ZERO = Decimal(0)
KEPT_REASONS = frozenset({"kept", "short_kept", "fraction_only"})
"""Reasons of a plan for positions that are neither targets nor sold."""


@dataclass(frozen=True)
class BandComparison:
    """An account beside its targets.

    Attributes:
        weights: actual weights by symbol as fractions, cash under `CASH`.
        target_weights: target weights in the same form.
        band_percent: the drift band, in percentage points.
        drifts_pp: actual minus target by symbol and for cash, in percentage points, without kept positions.
        outside: symbols, and `CASH`, whose drift is at least the band.
        is_outside: whether the account is outside its band.
    """

    weights: Mapping[str, Decimal]
    target_weights: Mapping[str, Decimal]
    band_percent: Decimal
    drifts_pp: Mapping[str, Decimal]
    outside: frozenset[str]
    is_outside: bool

    @property
    def largest(self) -> str:
        """Return the symbol with the largest drift, or `CASH`."""
        return max(self.drifts_pp, key=lambda symbol: (abs(self.drifts_pp[symbol]), symbol), default=CASH)

    @property
    def largest_drift_pp(self) -> Decimal:
        """Return the largest drift, cash included, in percentage points."""
        return abs(self.drifts_pp.get(self.largest, ZERO))

    @property
    def to_sell(self) -> list[str]:
        """Return the positions that are not targets and that a plan sells, whatever their size."""
        return sorted(self.drifts_pp.keys() - self.target_weights.keys() - {CASH})


def compare_weights(
    weights: Mapping[str, Decimal],
    target_weights: Mapping[str, Decimal],
    band_percent: Decimal,
    *,
    kept: Collection[str] = (),
) -> BandComparison:
    """Return the comparison of weights with target weights, both as fractions by symbol with cash under `CASH`.

    Args:
        weights: actual weights.
        target_weights: target weights.
        band_percent: the drift band, in percentage points.
        kept: symbols that are not targets and that the policy does not sell.
    """
    symbols = (weights.keys() | target_weights.keys()) - set(kept)
    drifts = {name: (weights.get(name, ZERO) - target_weights.get(name, ZERO)) * 100 for name in sorted(symbols)}
    outside = frozenset(name for name, drift in drifts.items() if drift and abs(drift) >= band_percent)
    inside = (target_weights.keys() & drifts.keys()) - outside - {CASH}
    hidden = abs(sum((drifts[name] for name in inside), ZERO))
    lifted = hidden > 0 and hidden >= band_percent
    return BandComparison(
        weights=weights,
        target_weights=target_weights,
        band_percent=band_percent,
        drifts_pp=drifts,
        outside=outside,
        is_outside=bool(outside) or lifted or weights.get(CASH, ZERO) < 0,
    )


def compare_account(account: AccountState, targets: Sequence[AllocationItem], config: AccountConfig) -> BandComparison:
    """Return the comparison of an account at the broker's marks with its targets, reserve included.

    Args:
        account: value, cash and positions with their marks, in USD and shares.
        targets: weights as fractions, after replacements.
        config: the policy's reserve, band, and rule for positions that are not targets.

    Raises:
        CalculationRefused: the account, the targets or the policy cannot be used; no plan could be made either.
    """
    check_config(config)
    weights = weights_by_symbol(targets)
    check_account(account, weights, {}, config)
    holdings = make_holdings(account, weights, {}, config)
    projector = Projector(holdings)
    actual, _ = projector.after({}, holdings.cash)
    return compare_weights(actual.weights, projector.target_weights, config.band_percent, kept=_kept(holdings))


def _kept(holdings: Holdings) -> list[str]:
    """Return the symbols of positions that are neither targets nor sold."""
    return [line.symbol for line in holdings.lines if not line.is_target and line.kept == line.whole_held]
