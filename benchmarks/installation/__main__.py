"""`python -m benchmarks.installation`: a whole installation, from the event to the last fill.

What is measured is written down after each measurement, into measured.json and docs/performance.md; a later call measures
only what it is asked for, and keeps the rest. So the whole can be had in pieces, and nothing that was measured gets lost.
"""

import argparse
import json
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from benchmarks.installation import cells, door
from benchmarks.installation.report import write
from benchmarks.installation.site import prepare

KEPT = Path(__file__).with_name("measured.json")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--accounts", type=int, nargs="*", default=cells.ACCOUNTS, help="of an event (1 5 20 100)")
    parser.add_argument("--processes", type=int, nargs="*", default=cells.PROCESSES, help="of the workers (1 4 8)")
    parser.add_argument("--door", action="store_true", help="measure pick-up and intake only")
    parser.add_argument("--no-door", action="store_true", help="leave pick-up and intake out")
    parser.add_argument("--cell-seconds", type=float, default=90, help="give one event up after so long (90)")
    parser.add_argument("--minutes", type=float, default=9, help="begin no measurement after so many minutes (9)")
    options = parser.parse_args()
    end = time.monotonic() + 60 * options.minutes
    kept = json.loads(KEPT.read_text()) if KEPT.exists() else {"cells": {}}
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder))
        if not options.no_door:
            _keep(kept, pick_up=door.pick_up(), intake=door.intake())
        wanted = [] if options.door else cells.all_cells(tuple(options.accounts), tuple(options.processes))
        for accounts, processes in wanted:
            if time.monotonic() > end:
                print(f"Left out for want of time: {accounts} accounts with {processes} processes")
                continue
            cell = cells.measure(accounts, processes, options.cell_seconds)
            print(cell, flush=True)
            _keep(kept, cells={**kept["cells"], f"{accounts}/{processes}": asdict(cell)})


def _keep(kept: dict, **changes: object) -> None:
    kept |= changes
    KEPT.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n")
    write(kept)


if __name__ == "__main__":
    main()
