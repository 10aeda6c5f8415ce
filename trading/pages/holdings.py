"""What an account holds beside today's targets, from its stored standing. Numbers are Decimal; geometry is text."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from calculator.band import BandComparison, compare_weights
from calculator.model_base import treatment
from calculator.plan_types import CASH
from trading.errors import TradingError
from trading.models import AccountStanding
from trading.models.run_documents import stored_weights
from trading.pages.charts import Slice, asset_colour, asset_label, geometry, slices
from trading.planning.standing_basis import StandingBasis

WIDEST = Decimal(92)
"""Width of the largest weight, in percent of the chart."""
HALF = Decimal(50)
ZERO = Decimal(0)


@dataclass(frozen=True)
class HoldingRow:
    """An asset with its weights in percent, and its drift in percentage points. Shapes are in percent of the chart.

    `typed` is the target of the strategy after replacements. `target` is its share of this account, after the cash
    reserve; it and `drift` are None while the account is not compared with its targets. A position that is kept has no
    drift.
    """

    symbol: str
    label: str
    kind: str
    colour: str
    is_cash: bool
    is_target: bool
    now: Decimal
    typed: Decimal | None
    target: Decimal | None
    drift: Decimal | None
    outside: bool
    now_width: str
    target_x: str
    band_x: str
    band_width: str


@dataclass(frozen=True)
class DriftRow:
    """The drift of an asset as a bar from the middle: overweight to the right, underweight to the left."""

    label: str
    drift: Decimal
    outside: bool
    x: str
    width: str


@dataclass(frozen=True)
class DriftChart:
    """Drifts from overweight to underweight, around the band."""

    rows: list[DriftRow]
    band: Decimal
    band_x: str
    band_width: str


@dataclass(frozen=True)
class Holdings:
    """The assets of an account, cash last, and how they compare with the targets.

    `investable_percent` is the part of the account that the targets divide: the rest is the cash reserve.
    """

    rows: list[HoldingRow]
    drift: DriftChart | None
    rings: dict[str, list[Slice]]
    outside: int
    investable_percent: Decimal | None
    cash: HoldingRow | None


def holdings_of(standing: AccountStanding, basis: StandingBasis, instruments: Mapping[str, Any]) -> Holdings:
    """Return the holdings of the latest look at an account beside its targets of today.

    Args:
        standing: the latest look.
        basis: what the account is compared with today.
        instruments: names and types of the symbols, as a run stores them.
    """
    weights, typed = stored_weights(dict(standing.weights)), _typed(basis)
    comparison = _comparison(standing, basis, weights)
    targets = comparison.target_weights if comparison else {}
    wanted = targets or typed
    symbols = sorted(
        weights.keys() | wanted.keys(),
        key=lambda symbol: (symbol == CASH, -wanted.get(symbol, ZERO), -weights.get(symbol, ZERO), symbol),
    )
    scale = WIDEST / max([Decimal("0.01"), *weights.values(), *targets.values()])
    rows = [
        _row(symbol, index, weights, typed, comparison, instruments.get(symbol, {}).get("kind", ""), scale)
        for index, symbol in enumerate(symbols)
    ]
    return Holdings(
        rows=rows,
        drift=_drift_chart(rows, comparison.band_percent) if comparison else None,
        rings={
            "now": slices([(row.symbol, row.colour, row.now / 100) for row in rows]),
            "target": slices([(row.symbol, row.colour, (row.target or ZERO) / 100) for row in rows]),
        },
        outside=len(comparison.outside) if comparison else 0,
        investable_percent=_investable(typed, targets) if comparison else None,
        cash=next((row for row in rows if row.is_cash), None),
    )


def _comparison(
    standing: AccountStanding, basis: StandingBasis, weights: Mapping[str, Decimal]
) -> BandComparison | None:
    """Return the comparison of the standing; None where there is none, or it is void."""
    targets, band = stored_weights(standing.target_weights), standing.band_percent
    if band is None or not targets:
        return None
    return compare_weights(weights, targets, band, kept=_kept(standing, basis) - targets.keys() - {CASH})


def _row(
    symbol: str,
    index: int,
    weights: Mapping[str, Decimal],
    typed: Mapping[str, Decimal],
    comparison: BandComparison | None,
    kind: str,
    scale: Decimal,
) -> HoldingRow:
    now = weights.get(symbol, ZERO)
    target = comparison.target_weights.get(symbol, ZERO) if comparison else ZERO
    band = comparison.band_percent / 100 if comparison else ZERO
    low, high = max(target - band, ZERO), target + band
    return HoldingRow(
        symbol=symbol,
        label=asset_label(symbol),
        kind=kind,
        colour=asset_colour(symbol, index),
        is_cash=symbol == CASH,
        is_target=symbol in typed,
        now=now * 100,
        typed=typed[symbol] * 100 if symbol in typed else None,
        target=target * 100 if comparison else None,
        drift=comparison.drifts_pp.get(symbol) if comparison else None,
        outside=comparison is not None and symbol in comparison.outside,
        now_width=geometry(max(now, ZERO) * scale),
        target_x=geometry(target * scale),
        band_x=geometry(low * scale),
        band_width=geometry((high - low) * scale),
    )


def _kept(standing: AccountStanding, basis: StandingBasis) -> set[str]:
    """Return the symbols that no plan sells unless they are targets: all, or those of less than one share."""
    positions = (standing.snapshot or {}).get("positions", ())
    config = basis.policy.sizing
    return {
        one["symbol"]
        for one in positions
        if treatment(one["symbol"], config) != "sell" or abs(Decimal(one["quantity"])) < 1
    }


def _typed(basis: StandingBasis) -> dict[str, Decimal]:
    """Return today's targets after replacements; none where they are unknown or cannot be traded."""
    try:
        return {item.symbol: item.weight for item in basis.targets()}
    except TradingError:
        return {}


def _investable(typed: Mapping[str, Decimal], targets: Mapping[str, Decimal]) -> Decimal | None:
    whole = sum(typed.values(), ZERO)
    invested = sum((weight for symbol, weight in targets.items() if symbol != CASH), ZERO)
    return invested / whole * 100 if whole > 0 else None


def _drift_chart(rows: list[HoldingRow], band: Decimal) -> DriftChart | None:
    """Return the drifts, the largest overweight first."""
    drifts = sorted(((row.drift, row.label, row.outside) for row in rows if row.drift is not None), reverse=True)
    if not drifts:
        return None
    scale = (HALF - 2) / max([band, Decimal("0.1"), *(abs(drift) for drift, *_ in drifts)])
    return DriftChart(
        rows=[
            DriftRow(
                label=label,
                drift=drift,
                outside=outside,
                x=geometry(HALF + min(drift, ZERO) * scale),
                width=geometry(abs(drift) * scale),
            )
            for drift, label, outside in drifts
        ],
        band=band,
        band_x=geometry(HALF - band * scale),
        band_width=geometry(band * scale * 2),
    )
