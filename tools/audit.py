"""Known weaknesses of the pinned dependencies. Loud when the service that knows them cannot be asked.

Exit code 1 when a weakness is known; 0 when none is, or when nothing could be found out, which is said at length.
"""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PINS = "requirements/main.txt"
DEADLINE_SECONDS = 180
NOT_ASKED = """
##########################################################################
##  NOT AUDITED: {count} dependencies could not be looked up.
##  {reason}
##  Run `make audit` where https://pypi.org/pypi can be reached.
##########################################################################
"""


def judge(report: Mapping[str, Any]) -> tuple[int, str]:
    """Exit code and words for a report of pip-audit."""
    dependencies = report["dependencies"]
    weak = [dependency for dependency in dependencies if dependency.get("vulns")]
    skipped = [dependency for dependency in dependencies if "skip_reason" in dependency]
    lines = [
        f"{dependency['name']} {dependency['version']}: {found['id']}, fixed in "
        f"{', '.join(found['fix_versions']) or 'no version yet'}"
        for dependency in weak
        for found in dependency["vulns"]
    ]
    if skipped:
        lines.append(NOT_ASKED.format(count=len(skipped), reason=skipped[0]["skip_reason"]))
    looked_up = len(dependencies) - len(skipped)
    lines.append(f"{looked_up} of {len(dependencies)} dependencies looked up, {len(weak)} with known weaknesses.")
    return int(bool(weak)), "\n".join(lines)


def main() -> int:
    """Asks pip-audit about the pins."""
    command = [str(Path(sys.executable).parent / "pip-audit"), "-r", PINS, "--require-hashes", "--disable-pip"]
    command += ["--format", "json"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_SECONDS, check=False)  # noqa: S603 - our own tool
        code, words = judge(json.loads(done.stdout))
    except (subprocess.TimeoutExpired, ValueError) as error:
        code, words = 0, NOT_ASKED.format(count="all", reason=f"pip-audit gave no report ({type(error).__name__}).")
    sys.stdout.write(words + "\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
