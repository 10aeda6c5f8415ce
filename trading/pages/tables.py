"""What the pages show of a run, ready for the templates: numbers as numbers, geometry as text with a point."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from calculator.outlook import CASH
from trading.models import RebalanceRun, RunMode

WIDEST = Decimal(92)  # percent of the chart that the largest weight takes up


@dataclass(frozen=True)
class WeightRow:
    """One asset: weights now, after and wanted, in percent, and where the bars end, in percent of the chart."""

    symbol: str
    is_target: bool
    now: Decimal
    after: Decimal
    target: Decimal
    drift_before: Decimal
    drift_after: Decimal
    now_width: str
    after_width: str
    target_x: str
    outside: bool


def weight_rows(run: RebalanceRun) -> list[WeightRow]:
    """The assets of a planned run, the largest target first, CASH last."""
    if not run.result:
        return []
    wanted = _weights(run.result.get("target_weights"))
    before = _weights(run.result.get("before", {}).get("weights"))
    after = _weights((run.report or {}).get("weights_after")) or _weights(run.result.get("expected", {}).get("weights"))
    band = Decimal(str((run.policy or {}).get("allocation_threshold_percent", "0")))
    symbols = sorted(
        wanted.keys() | before.keys() | after.keys(),
        key=lambda symbol: (symbol == CASH, -wanted.get(symbol, Decimal(0)), symbol),
    )
    scale = WIDEST / max([Decimal("0.01"), *wanted.values(), *before.values(), *after.values()])
    return [_row(symbol, wanted, before, after, scale, band) for symbol in symbols]


def _row(
    symbol: str,
    wanted: dict[str, Decimal],
    before: dict[str, Decimal],
    after: dict[str, Decimal],
    scale: Decimal,
    band: Decimal,
) -> WeightRow:
    now, then, target = (weights.get(symbol, Decimal(0)) for weights in (before, after, wanted))
    return WeightRow(
        symbol=symbol,
        is_target=symbol in wanted,
        now=now * 100,
        after=then * 100,
        target=target * 100,
        drift_before=(now - target) * 100,
        drift_after=(then - target) * 100,
        now_width=geometry(max(now, Decimal(0)) * scale),
        after_width=geometry(max(then, Decimal(0)) * scale),
        target_x=geometry(target * scale),
        outside=abs(now - target) * 100 >= band,
    )


@dataclass(frozen=True)
class TradeRow:
    """One planned trade."""

    symbol: str
    is_sell: bool
    shares: int
    price: Decimal
    value: Decimal
    weight_now: Decimal
    weight_after: Decimal
    detail: str


def trade_rows(run: RebalanceRun, *, sells: bool) -> list[TradeRow]:
    """The sells or the buys of the plan."""
    lines = run.result.get("plan", {}).get("sells" if sells else "buys", [])
    before = _weights(run.result.get("before", {}).get("weights"))
    after = _weights(run.result.get("expected", {}).get("weights"))
    return [
        TradeRow(
            symbol=line["symbol"],
            is_sell=sells,
            shares=abs(line["quantity"]),
            price=Decimal(line["quote_usd"]),
            value=abs(line["quantity"]) * Decimal(line["quote_usd"]),
            weight_now=before.get(line["symbol"], Decimal(0)) * 100,
            weight_after=after.get(line["symbol"], Decimal(0)) * 100,
            detail=line["detail"],
        )
        for line in lines
    ]


def plan_summary(run: RebalanceRun) -> dict[str, Any]:
    """The figures above a plan."""
    sells, buys = trade_rows(run, sells=True), trade_rows(run, sells=False)
    rows = weight_rows(run)
    return {
        "sells": sells,
        "buys": buys,
        "sell_value": sum((row.value for row in sells), Decimal(0)),
        "buy_value": sum((row.value for row in buys), Decimal(0)),
        "cash_before": Decimal(run.result["before"]["cash"]),
        "cash_after": Decimal(run.result["expected"]["cash"]),
        "turnover": Decimal(run.result["turnover_percent"]),
        "turnover_limit": Decimal(str(run.policy["max_turnover_percent"])),
        "drift_before": max((abs(row.drift_before) for row in rows), default=Decimal(0)),
        "drift_after": max((abs(row.drift_after) for row in rows), default=Decimal(0)),
        "not_traded": run.result["not_traded"],
    }


STEPS = (
    ("targets", "Targets"),
    ("snapshot", "Snapshot"),
    ("quotes", "Quotes"),
    ("plan", "Plan"),
    ("sells", "Sells"),
    ("buys", "Buys"),
    ("done", "Done"),
)


def step_rows(run: RebalanceRun) -> list[dict[str, object]]:
    """The steps of a run with where it stands."""
    steps = STEPS if run.mode == RunMode.EXECUTE else (*STEPS[:4], STEPS[-1])
    keys = [key for key, _ in steps]
    at = {"waiting": -1, "report": len(keys) - 1, "done": len(keys)}.get(run.step)
    if at is None:
        at = keys.index(run.step)
    if run.is_finished and run.state != "completed":
        at = -1
    return [
        {"number": number + 1, "label": label, "done": number < at, "current": number == at}
        for number, (_, label) in enumerate(steps)
    ]


def _weights(content: dict[str, str] | None) -> dict[str, Decimal]:
    return {symbol: Decimal(weight) for symbol, weight in (content or {}).items()}


def geometry(number: Decimal) -> str:
    """A coordinate for SVG: always with a point, whatever the language."""
    return f"{number:.2f}"
