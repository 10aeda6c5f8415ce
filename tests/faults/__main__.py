"""`make faults`: injects every row of the matrix, on SQLite and on PostgreSQL, and writes docs/faults.md."""

import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections import Counter, defaultdict
from pathlib import Path

from tests.faults.matrix import MATRIX
from tests.support.installation import ROOT

DOCUMENT = ROOT / "docs" / "faults.md"
MARK = "<!-- made by `make faults`; what follows is not edited by hand -->"
DATABASES = {"SQLite": {}, "PostgreSQL": {"TEST_DATABASE": "postgres"}}


def main():
    """Runs the tests of all rows on both databases; ends with 1 when one does not hold."""
    # One after the other: side by side they take as long, and each waits for the other's processes.
    results = {name: _run(environment) for name, environment in DATABASES.items()}
    rows, well = [], True
    for row in MATRIX:
        cells = [_cell([results[name][test] for test in row.tests]) for name in DATABASES]
        well = well and not any("FAILED" in cell or "not run" in cell for cell in cells)
        rows.append((str(row.number), row.fault, row.expected, *cells, row.not_shown))
    head = ("#", "Fault", "Expected", *DATABASES, "Not shown")
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ("---",) * len(head), *rows))
    sys.stdout.write(table + "\n")
    kept = DOCUMENT.read_text(encoding="utf-8").partition(MARK)[0]
    DOCUMENT.write_text(f"{kept}{MARK}\n\n{table}\n", encoding="utf-8")
    return 0 if well else 1


def _run(environment):
    """How each test ended, by its id without parameters."""
    tests = sorted({test for row in MATRIX for test in row.tests})
    with tempfile.TemporaryDirectory() as directory:
        report = Path(directory) / "report.xml"
        subprocess.run(
            [
                sys.executable,
                "-m",
                "pytest",
                "-q",
                "-n",
                "2",
                "--dist",
                "loadfile",
                "--timeout=600",
                "-o",
                "junit_family=xunit1",
                f"--junitxml={report}",
                *tests,
            ],
            cwd=ROOT,
            env=os.environ | {"FAULTS": "full"} | environment,
            stdout=sys.stderr,
            check=False,
        )
        found = defaultdict(Counter)
        for case in ET.parse(report).iter("testcase"):  # noqa: S314 - our own report
            name = f"{case.get('file')}::{case.get('name').partition('[')[0]}"
            kinds = {child.tag for child in case}
            found[name]["failed" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else "held"] += 1
    return found


def _cell(counts):
    """What people read of a row on one database."""
    total = sum(counts, Counter())
    if total["failed"]:
        return f"FAILED {total['failed']} of {sum(total.values())}"
    if any(not sum(count.values()) for count in counts):
        return "not run"
    skipped = f", {total['skipped']} not on this database" if total["skipped"] else ""
    return f"held, {total['held']} tests{skipped}" if total["held"] else "does not apply"


if __name__ == "__main__":
    sys.exit(main())
