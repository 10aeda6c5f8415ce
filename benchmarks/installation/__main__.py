"""Measure a whole installation, from the event to the last fill: `python -m benchmarks.installation`.

Results are written to measured.json and docs/performance.md after each measurement. A later call measures only the requested
cases and keeps the other results, so the measurements can be split over several calls.
"""

import argparse
import json
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from benchmarks.installation import cells, intake
from benchmarks.installation.report import write
from benchmarks.installation.site import prepare

RESULTS = Path(__file__).with_name("measured.json")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--accounts", type=int, nargs="*", default=cells.ACCOUNTS, help="accounts of the event (default: 1 5 20 100)"
    )
    parser.add_argument(
        "--processes", type=int, nargs="*", default=cells.PROCESSES, help="worker processes (default: 1 4 8)"
    )
    parser.add_argument("--intake-only", action="store_true", help="measure start latency and intake only")
    parser.add_argument("--no-intake", action="store_true", help="skip start latency and intake")
    parser.add_argument(
        "--cell-seconds", type=float, default=90, help="maximum time of one event, in seconds (default: 90)"
    )
    parser.add_argument(
        "--minutes", type=float, default=9, help="start no measurement after this time, in minutes (default: 9)"
    )
    options = parser.parse_args()
    end = time.monotonic() + 60 * options.minutes
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"cells": {}}
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder))
        if not options.no_intake:
            _store(results, pick_up=intake.start_latency(), intake=intake.rates())
        wanted = [] if options.intake_only else cells.all_cells(tuple(options.accounts), tuple(options.processes))
        for accounts, processes in wanted:
            if time.monotonic() > end:
                print(f"Skipped, time limit reached: {accounts} accounts with {processes} processes")
                continue
            cell = cells.measure(accounts, processes, options.cell_seconds)
            print(cell, flush=True)
            _store(results, cells={**results["cells"], f"{accounts}/{processes}": asdict(cell)})


def _store(results: dict, **changes: object) -> None:
    results |= changes
    RESULTS.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")
    write(results)


if __name__ == "__main__":
    main()
