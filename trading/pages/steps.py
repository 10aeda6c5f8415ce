from trading.models import RebalanceRun, RunMode, RunState, RunStep

BEFORE_ORDERS = (("targets", "Targets"), ("snapshot", "Snapshot"), ("quotes", "Quotes"), ("plan", "Plan"))
ORDERS = (("sells", "Sells"), ("buys", "Buys"))


def step_rows(run: RebalanceRun) -> list[dict[str, object]]:
    """Return the steps of a run with its progress. A run that stopped shows the step at which it stopped."""
    steps = (*BEFORE_ORDERS, *(ORDERS if run.mode == RunMode.EXECUTE else ()), ("done", "Done"))
    done = len(steps) if run.state == RunState.COMPLETED else _reached(run, [key for key, _ in steps])
    halted = run.is_finished and run.state != RunState.COMPLETED
    return [
        {
            "number": number + 1,
            "label": label,
            "done": number < done,
            "current": number == done and not halted and run.state == RunState.RUNNING,
        }
        for number, (_, label) in enumerate(steps)
    ]


def _reached(run: RebalanceRun, keys: list[str]) -> int:
    """Return the number of finished steps. For a run that stopped, the recorded documents show it."""
    if run.step == RunStep.REPORT:
        return keys.index("done")
    if run.step in keys and run.step != RunStep.DONE:
        return keys.index(run.step)
    recorded = (run.targets, run.snapshot, run.quotes, run.result)
    return next((number for number, fact in enumerate(recorded) if not fact), len(recorded)) if run.is_finished else 0
