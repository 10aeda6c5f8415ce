"""`manage.py doctor`: what works, what does not, and what to do."""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from trading.monitoring.doctor.findings import Status
from trading.monitoring.doctor.registry import CHECKS, examine

UNWELL, USAGE = 1, 2
MARKS = {Status.OK: "ok     ", Status.OFF: "off    ", Status.PROBLEM: "PROBLEM"}


class Command(BaseCommand):
    """Looks at every part of the installation."""

    help = "Says of each part of the installation whether it works and what to do. Ends with 1 if one does not."
    requires_system_checks = ()  # it has something to say also when they fail
    requires_migrations_checks = False

    def add_arguments(self, parser: CommandParser) -> None:
        """The command line."""
        parser.add_argument("checks", nargs="*", metavar="CHECK", help=f"of {', '.join(CHECKS)}; all when left out")
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *_: Any, **options: Any) -> None:
        """Prints what was found."""
        if unknown := [name for name in options["checks"] if name not in CHECKS]:
            words = f"There is no check {unknown[0]!r}. Checks: {', '.join(CHECKS)}."
            raise CommandError(words, returncode=USAGE)
        findings = examine(options["checks"])
        well = all(finding.status is not Status.PROBLEM for finding in findings)
        if options["json"]:
            content = {"ok": well, "findings": [finding.model_dump(mode="json") for finding in findings]}
            self.stdout.write(json.dumps(content))
        else:
            for finding in findings:
                to_do = f" → {finding.to_do}" if finding.to_do else ""
                self.stdout.write(f"{MARKS[finding.status]} {finding.check}: {finding.message}{to_do}")
        if not well:
            raise SystemExit(UNWELL)
