"""Measure the time from the event to the last fill beside a client that only sends: `python -m benchmarks.ibkr`."""

import argparse
import statistics
import tempfile
from pathlib import Path

from django.conf import settings

from benchmarks.ibkr import baseline, engine, phases
from benchmarks.ibkr.accounts import HELD, TARGETS, account_ids
from benchmarks.ibkr.gateway_process import FILL_SECONDS, ONE_WAY_SECONDS, GatewayProcess

PAGE = Path(__file__).resolve().parents[2] / "docs" / "execution_time.md"
BEGIN, END = "<!-- measured {} -->", "<!-- end -->"
CHART = "execution_time_{}.svg"
MAX_ACCOUNTS = 20


def with_gateway(accounts, side):
    """Run one side against its own gateway; return its start time, the gateway's counters and the side's own result."""
    gateway = GatewayProcess(accounts)
    try:
        began, extra = side(gateway.port)
        seen = gateway.seen()
    finally:
        gateway.stop()
    expected = accounts * (len(HELD) + len(TARGETS))
    assert (seen.orders, seen.filled, seen.sent_twice, seen.went_short) == (expected, expected, 0, 0), seen
    return began, seen, extra


def engine_side(workers, accounts):
    ids = account_ids(accounts)
    engine.make_accounts(ids)

    def side(port):
        engine.run_event(workers, ids, port, "print-rebalance")  # holdings are known, as in daily operation
        began, event, slots = engine.run_event(workers, ids, port)
        runs = list(event.runs.values_list("state", "error_message", "residual_drift"))
        assert {state for state, _, _ in runs} == {"completed"}, runs
        return began, (event, slots, max(drift for _, _, drift in runs))

    began, seen, (event, slots, drift) = with_gateway(accounts, side)
    return phases.moments(event, began, seen.last_fill_at), seen, slots, drift


def baseline_side(accounts, connections):
    began, seen, _ = with_gateway(accounts, lambda port: (baseline.send(port, accounts, connections), None))
    return seen.last_fill_at - began


def rows(workers, rounds, moments):
    # Contracts are looked up once a day, and orders without recent fills are checked first, so run once before measuring.
    engine_side(workers, MAX_ACCOUNTS)
    for accounts in (1, 5, MAX_ACCOUNTS):
        measured = []
        for _ in range(rounds):
            engine_moments, seen, slots, drift = engine_side(workers, accounts)
            moments.setdefault(accounts, []).append(engine_moments)
            measured.append((engine_moments["filled"], baseline_side(accounts, 1), baseline_side(accounts, slots)))
            assert seen.lowest_cash >= 0, seen
        medians = [statistics.median(column) for column in zip(*measured, strict=True)]
        yield accounts, slots, *medians, seen, drift


def table(measured, command):
    lines = [
        (
            f"`{command}`; network delay {ONE_WAY_SECONDS * 1000:.0f} ms one way, {FILL_SECONDS * 1000:.0f} ms to fill, "
            f"{len(HELD)} sells and {len(TARGETS)} buys per account; medians:"
        ),
        "",
        (
            "| Accounts | Connections | Event to last fill | One baseline client | Ratio | As many baseline clients | Ratio | "
            "Peak messages per second | Lowest cash | Final cash | Residual drift |"
        ),
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for accounts, slots, seconds, one, many, seen, drift in measured:
        lines.append(
            f"| {accounts} | {slots} | {seconds:.2f} s | {one:.2f} s | {seconds / one:.2f} | {many:.2f} s | "
            f"{seconds / many:.2f} | {seen.peak_rate} | ${seen.lowest_cash:,.2f} | {seen.cash_share:.2%} | {drift:.4f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="number of measurements of each case (default: 3)")
    parser.add_argument("--database", choices=("sqlite", "postgres"), default="sqlite", help="database of the engine")
    options = parser.parse_args()
    command = f"python -m benchmarks.ibkr --rounds {options.rounds} --database {options.database}"
    with tempfile.TemporaryDirectory() as folder:
        engine.prepare(Path(folder), options.database)
        workers = engine.Workers(settings.Q_CLUSTER["workers"])
        try:
            moments = {}
            measured = list(rows(workers, options.rounds, moments))
            text = table(measured, command)
            medians = phases.medians_of(moments)
            chart = phases.chart(medians, {row[0]: row[3] for row in measured})
            text += (
                f"\n\nTime from the event until the last run finished each phase, medians:\n\n{phases.table(medians)}"
            )
            text += f"\n\n![Where the time goes]({CHART.format(options.database)})"
        finally:
            workers.stop()
    print(text)
    (PAGE.parent / CHART.format(options.database)).write_text(chart)
    begin = BEGIN.format(options.database)
    before, rest = PAGE.read_text().split(begin)
    PAGE.write_text(f"{before}{begin}\n{text}\n{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
    main()
