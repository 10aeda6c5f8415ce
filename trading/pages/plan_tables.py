"""The tables of weights and trades of a run. Numbers are Decimal; chart geometry is text with a decimal point."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from calculator.plan_types import CASH
from trading.models import RebalanceRun
from trading.models.run_documents import stored_weights
from trading.pages.charts import asset_colour, asset_label, geometry
from trading.planning.standing import compare_run

TARGET_ROUNDING = Decimal("0.00005")
"""Largest difference between a target and its product, as a fraction, that is rounding."""
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
    """An asset with its weights in percent: before, after the plan and target. Shapes are in percent of the chart.

    `typed_target` is the weight in the strategy, after replacements, if the target is that share of what is invested.
    """

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
    typed_target: Decimal | None
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


def weights_are_planned(run: RebalanceRun) -> bool:
    """Return whether the weights after the run are those of its plan: there is no snapshot after its orders."""
    return not run.report.get("weights_after")


def invested_share(run: RebalanceRun) -> Decimal:
    """Return the part of the account's value that the targets divide: all but the cash floor, as a fraction."""
    plan = run.result["plan"]
    total = Decimal(plan["total_value_usd"])
    return (total - Decimal(plan["floor_usd"])) / total if total else Decimal(1)


def _typed_targets(run: RebalanceRun, wanted: dict[str, Decimal]) -> dict[str, Decimal]:
    """Return the typed weights, in percent, of the targets that are this share of the invested part."""
    invested = invested_share(run)
    if invested == 1:
        return {}
    typed = {target["symbol"]: Decimal(target["weight"]) for target in run.targets}
    return {
        symbol: weight * 100
        for symbol, weight in typed.items()
        if symbol in wanted and abs(weight * invested - wanted[symbol]) < TARGET_ROUNDING
    }


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
    typed = _typed_targets(run, wanted)
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
                typed_target=typed.get(symbol),
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
    sell_value = sum((row.value for row in sells), Decimal(0))
    buy_value = sum((row.value for row in buys), Decimal(0))
    cash_before, cash_after = Decimal(run.result["before"]["cash"]), Decimal(run.result["expected"]["cash"])
    turnover, limit = Decimal(run.result["turnover_percent"]), Decimal(str(run.policy["max_turnover_percent"]))
    return {
        "sells": sells,
        "buys": buys,
        "trades_anything": bool(sells or buys),
        "sell_value": sell_value,
        "buy_value": buy_value,
        "cash_before": cash_before,
        "cash_after": cash_after,
        "commission": cash_before + sell_value - buy_value - cash_after,
        "invested": invested_share(run) * 100,
        "turnover": turnover,
        "turnover_limit": limit,
        "exceeds_turnover_limit": turnover > limit,
        "drift_before": max((abs(row.drift_before) for row in rows), default=Decimal(0)),
        "drift_after": max((abs(row.drift_after) for row in rows), default=Decimal(0)),
        "not_traded": run.result["not_traded"],
    }
