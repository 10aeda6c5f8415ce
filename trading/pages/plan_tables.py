"""The tables of weights and trades of a run. Numbers are Decimal; chart geometry is text with a decimal point."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from calculator.plan_types import CASH
from trading.models import RebalanceRun
from trading.models.run_documents import stored_weights
from trading.pages.charts import asset_colour, asset_label, geometry
from trading.planning.standing import compare_run

WIDEST = Decimal(92)
"""Width of the largest weight, in percent of the chart."""
REASON_LABELS = {
    "underweight": "Underweight",
    "overweight": "Overweight",
    "makes_room": "Sold to raise cash",
    "not_a_target": "Not in strategy",
    "one_share": "Minimum one share",
}


@dataclass(frozen=True)
class WeightRow:
    """An asset with its weights in percent: current, after the plan and target. Shapes are in percent of the chart."""

    symbol: str
    label: str
    name: str
    kind: str
    colour: str
    is_cash: bool
    is_target: bool
    now: Decimal
    after: Decimal
    target: Decimal
    drift_before: Decimal
    drift_after: Decimal
    outside: bool
    now_width: str
    after_width: str
    target_x: str
    band_x: str
    band_width: str


def band_percent(run: RebalanceRun) -> Decimal:
    """Return the drift band of the run's policy, in percentage points."""
    return Decimal(str((run.policy or {}).get("allocation_threshold_percent", "0")))


def weight_rows(run: RebalanceRun) -> list[WeightRow]:
    """Return the assets of a planned run, the largest target first, cash last."""
    if not run.result:
        return []
    wanted = stored_weights(run.result.get("target_weights"))
    before = stored_weights(run.result.get("before", {}).get("weights"))
    outcome = (run.report or {}).get("weights_after") or run.result.get("expected", {}).get("weights")
    after = stored_weights(outcome)
    symbols = sorted(
        wanted.keys() | before.keys() | after.keys(),
        key=lambda symbol: (symbol == CASH, -wanted.get(symbol, Decimal(0)), symbol),
    )
    scale = WIDEST / max([Decimal("0.01"), *wanted.values(), *before.values(), *after.values()])
    band = band_percent(run)
    comparison = compare_run(run)
    outside = comparison.outside if comparison else frozenset()
    rows = []
    for index, symbol in enumerate(symbols):
        now, then, target = (weights.get(symbol, Decimal(0)) for weights in (before, after, wanted))
        instrument = run.instruments.get(symbol, {})
        low, high = max(target - band / 100, Decimal(0)), target + band / 100
        rows.append(
            WeightRow(
                symbol=symbol,
                label=asset_label(symbol),
                name=instrument.get("name", ""),
                kind=instrument.get("kind", ""),
                colour=asset_colour(symbol, index),
                is_cash=symbol == CASH,
                is_target=symbol in wanted,
                now=now * 100,
                after=then * 100,
                target=target * 100,
                drift_before=(now - target) * 100,
                drift_after=(then - target) * 100,
                outside=symbol in outside,
                now_width=geometry(max(now, Decimal(0)) * scale),
                after_width=geometry(max(then, Decimal(0)) * scale),
                target_x=geometry(target * scale),
                band_x=geometry(low * scale),
                band_width=geometry((high - low) * scale),
            )
        )
    return rows


@dataclass(frozen=True)
class TradeRow:
    """A planned trade."""

    symbol: str
    name: str
    is_sell: bool
    is_whole: bool
    shares: int
    price: Decimal
    value: Decimal
    weight_now: Decimal
    weight_after: Decimal
    reason: str


def trade_rows(run: RebalanceRun, *, sells: bool) -> list[TradeRow]:
    """Return the sells or the buys of the plan."""
    lines = run.result.get("plan", {}).get("sells" if sells else "buys", [])
    before = stored_weights(run.result.get("before", {}).get("weights"))
    after = stored_weights(run.result.get("expected", {}).get("weights"))
    return [
        TradeRow(
            symbol=line["symbol"],
            name=run.instruments.get(line["symbol"], {}).get("name", ""),
            is_sell=sells,
            is_whole=sells and Decimal(line["held"]) == abs(line["quantity"]),
            shares=abs(line["quantity"]),
            price=Decimal(line["quote_usd"]),
            value=abs(line["quantity"]) * Decimal(line["quote_usd"]),
            weight_now=before.get(line["symbol"], Decimal(0)) * 100,
            weight_after=after.get(line["symbol"], Decimal(0)) * 100,
            reason=REASON_LABELS.get(line["reason"], line["reason"]),
        )
        for line in lines
    ]


def plan_summary(run: RebalanceRun, rows: list[WeightRow]) -> dict[str, Any]:
    """Return the figures of a plan."""
    sells, buys = trade_rows(run, sells=True), trade_rows(run, sells=False)
    turnover, limit = Decimal(run.result["turnover_percent"]), Decimal(str(run.policy["max_turnover_percent"]))
    return {
        "sells": sells,
        "buys": buys,
        "trades_anything": bool(sells or buys),
        "sell_value": sum((row.value for row in sells), Decimal(0)),
        "buy_value": sum((row.value for row in buys), Decimal(0)),
        "cash_before": Decimal(run.result["before"]["cash"]),
        "cash_after": Decimal(run.result["expected"]["cash"]),
        "turnover": turnover,
        "turnover_limit": limit,
        "exceeds_turnover_limit": turnover > limit,
        "drift_before": max((abs(row.drift_before) for row in rows), default=Decimal(0)),
        "drift_after": max((abs(row.drift_after) for row in rows), default=Decimal(0)),
        "not_traded": run.result["not_traded"],
    }
