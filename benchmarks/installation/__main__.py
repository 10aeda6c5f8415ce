"""`python -m benchmarks.installation`: a whole installation, from the event to the last fill."""

import argparse
import itertools
import os
import tempfile
import time
from pathlib import Path

from benchmarks.installation import measure
from benchmarks.installation.report import BEGIN, END, picture, tables
from benchmarks.installation.site import prepare

DOCS = Path(__file__).resolve().parents[2] / "docs"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30, help="begin no measurement after so many minutes (30)")
    options = parser.parse_args()
    end = time.monotonic() + 60 * options.minutes
    took, left_out = [], []
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder))
        load = [os.getloadavg()[0]]
        picked_up = measure.pick_up()
        taken_in = {accounts: measure.intake(accounts) for accounts in (1, 20, 100)}
        for accounts, processes, way in itertools.product(measure.ACCOUNTS, measure.PROCESSES, measure.WAYS):
            if time.monotonic() > end:
                left_out.append(f"{way.__name__} with {accounts} accounts and {processes} processes")
                continue
            took.append(way(processes, accounts))
            print(took[-1], flush=True)
        load.append(os.getloadavg()[0])
    command = f"python -m benchmarks.installation --minutes {options.minutes:g}"
    text = tables(took, picked_up, taken_in, command)
    text += f"\n\n{os.cpu_count()} cores; load average {load[0]:.1f} before and {load[1]:.1f} after."
    if left_out:
        text += f" Not measured, for want of time: {'; '.join(left_out)}."
    if took:
        (DOCS / "performance.svg").write_text(picture(took))
        text += "\n\n![Event to last fill](performance.svg)"
    print(text)
    page = DOCS / "performance.md"
    before, rest = page.read_text().split(BEGIN)
    page.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.split(END)[1]}")


if __name__ == "__main__":
    main()
