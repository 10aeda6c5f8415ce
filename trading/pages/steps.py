"""The steps of a run, as its page shows them. A step is ticked only if what it stands for has happened."""

from collections.abc import Sequence

from trading.journal.outcomes import TradeProgress, outcome_label
from trading.models import RebalanceRun, RunMode, RunOutcome, RunState, RunStep

BEFORE_ORDERS = (("targets", "Targets"), ("snapshot", "Snapshot"), ("quotes", "Quotes"), ("plan", "Plan"))
ORDERS = (("sells", "Sells"), ("buys", "Buys"))
MARKS = {"done": "✓", "halted": "!", "none": "\N{EN DASH}"}
REACHED = {RunOutcome.DONE, RunOutcome.NOTHING_TO_DO}


def step_rows(run: RebalanceRun, trades: Sequence[TradeProgress]) -> list[dict[str, object]]:
    """Return the steps of a run with its progress.

    The status of a step is `done`, `current`, `halted` (some of its trades were not done), `none` (it had nothing to
    trade), or empty: not reached.
    """
    steps = [*BEFORE_ORDERS, *(ORDERS if run.mode == RunMode.EXECUTE else ()), ("done", _last_label(run))]
    statuses = _after_end(run, trades) if run.is_finished else _in_progress(run, [key for key, _ in steps])
    return [
        {"mark": MARKS.get(statuses[key], number), "label": label, "status": statuses[key]}
        for number, (key, label) in enumerate(steps, 1)
    ]


def _last_label(run: RebalanceRun) -> str:
    return outcome_label(run) if run.is_finished and run.state != RunState.REFUSED else "Done"


def _in_progress(run: RebalanceRun, keys: list[str]) -> dict[str, str]:
    """Return the status of each step of a run that has not ended."""
    step = "done" if run.step == RunStep.REPORT else run.step
    reached = keys.index(step) if step in keys and run.state == RunState.RUNNING else 0
    statuses = {key: "done" if number < reached else "" for number, key in enumerate(keys)}
    if run.state == RunState.RUNNING:
        statuses[keys[reached]] = "current"
    return statuses


def _after_end(run: RebalanceRun, trades: Sequence[TradeProgress]) -> dict[str, str]:
    """Return the status of each step of a run that has ended: what is recorded, and what became of the trades."""
    recorded = (run.targets, run.snapshot, run.quotes, run.result)
    reached = next((number for number, fact in enumerate(recorded) if not fact), len(recorded))
    statuses = {key: "done" if number < reached else "" for number, (key, _) in enumerate(BEFORE_ORDERS)}
    for key, side in (("sells", -1), ("buys", 1)):
        statuses[key] = _of_trades(run, [trade for trade in trades if trade.quantity * side > 0])
    unreached = "halted" if run.outcome in {RunOutcome.PARTLY_DONE, RunOutcome.STOPPED} else ""
    return statuses | {"done": "done" if run.outcome in REACHED else unreached}


def _of_trades(run: RebalanceRun, trades: Sequence[TradeProgress]) -> str:
    causes = {trade.undone for trade in trades}
    if not trades:
        return "none" if run.result else ""
    if causes == {""}:
        return "done"
    return "" if causes == {"not_sent"} else "halted"
