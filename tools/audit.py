"""Check the pinned dependencies for known vulnerabilities.

Exit code 1 if a dependency has a known vulnerability, 2 if none was looked up, otherwise 0. If dependencies cannot be
looked up, a prominent warning is printed. `--allow-offline` (.ci/run) turns the exit code 2 into 0.
"""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PINS = "requirements/main.txt"
DEADLINE_SECONDS = 180
NOTHING_LOOKED_UP = 2
NOT_ASKED = """
##########################################################################
##  NOT AUDITED: {count} dependencies could not be looked up.
##  {reason}
##  Run `make audit` where https://pypi.org/pypi can be reached.
##########################################################################
"""


def judge(report: Mapping[str, Any]) -> tuple[int, str]:
    """Return exit code and message for a report of pip-audit."""
    dependencies = report["dependencies"]
    vulnerable = [dependency for dependency in dependencies if dependency.get("vulns")]
    skipped = [dependency for dependency in dependencies if "skip_reason" in dependency]
    lines = [
        f"{dependency['name']} {dependency['version']}: {found['id']}, fixed in "
        f"{', '.join(found['fix_versions']) or 'no version yet'}"
        for dependency in vulnerable
        for found in dependency["vulns"]
    ]
    if skipped:
        lines.append(NOT_ASKED.format(count=len(skipped), reason=skipped[0]["skip_reason"]))
    looked_up = len(dependencies) - len(skipped)
    lines.append(
        f"{looked_up} of {len(dependencies)} dependencies looked up, {len(vulnerable)} with known vulnerabilities."
    )
    code = 1 if vulnerable else NOTHING_LOOKED_UP if not looked_up else 0
    return code, "\n".join(lines)


def main() -> int:
    """Run pip-audit on the pinned dependencies and print the result."""
    command = [str(Path(sys.executable).parent / "pip-audit"), "-r", PINS, "--require-hashes", "--disable-pip"]
    command += ["--format", "json"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_SECONDS, check=False)  # noqa: S603 - our own tool
        code, message = judge(json.loads(done.stdout))
    except (subprocess.TimeoutExpired, OSError, ValueError) as error:
        code, message = (
            NOTHING_LOOKED_UP,
            NOT_ASKED.format(count="all", reason=f"pip-audit returned no report ({type(error).__name__})."),
        )
    sys.stdout.write(message + "\n")
    return 0 if code == NOTHING_LOOKED_UP and "--allow-offline" in sys.argv else code


if __name__ == "__main__":
    sys.exit(main())
