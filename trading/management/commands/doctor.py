"""`manage.py doctor`: check the installation, and recommend what to do."""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from trading.management.lookup import USAGE
from trading.monitoring.doctor.findings import Status
from trading.monitoring.doctor.registry import CHECKS, examine

UNHEALTHY = 1
LABELS = {Status.OK: "ok     ", Status.OFF: "off    ", Status.PROBLEM: "PROBLEM"}


class Command(BaseCommand):
    help = "Check the installation and recommend what to do. Exits with 1 if a part does not work."
    requires_system_checks = ()  # the checks must also run if system checks fail
    requires_migrations_checks = False

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("checks", nargs="*", metavar="CHECK", help=f"{', '.join(CHECKS)} (default: all)")
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *_: Any, **options: Any) -> None:
        if unknown := [name for name in options["checks"] if name not in CHECKS]:
            raise CommandError(f"There is no check {unknown[0]!r}. Checks: {', '.join(CHECKS)}.", returncode=USAGE)
        findings = examine(options["checks"])
        healthy = all(finding.status is not Status.PROBLEM for finding in findings)
        if options["json"]:
            content = {"ok": healthy, "findings": [finding.model_dump(mode="json") for finding in findings]}
            self.stdout.write(json.dumps(content))
        else:
            for finding in findings:
                to_do = f" → {finding.to_do}" if finding.to_do else ""
                self.stdout.write(f"{LABELS[finding.status]} {finding.check}: {finding.message}{to_do}")
        if not healthy:
            raise SystemExit(UNHEALTHY)
