from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.yaml.reading import ImportRefused, Report


class ImportCommand(BaseCommand):
    """Import one YAML file, completely or not at all."""

    importer: Callable[..., Report]

    def add_arguments(self, parser: CommandParser) -> None:
        """Define the arguments."""
        parser.add_argument("file", type=Path, help="YAML file; - for standard input")
        parser.add_argument(
            "--dry-run", action="store_true", help="check the file and count the changes, without saving them"
        )

    def handle(self, *_: Any, **options: Any) -> None:
        """Import the file and print the number of changes."""
        try:
            report = type(self).importer(options["file"], dry_run=options["dry_run"])
        except ImportRefused as refusal:
            raise CommandError(
                "import_refused: nothing was imported. Correct these problems:\n"
                + "\n".join(f"  {line}" for line in refusal.problems)
            ) from refusal
        would = "would be " if options["dry_run"] else ""
        self.stdout.write(
            f"{report.created} {would}created, {report.changed} {would}changed, {report.unchanged} unchanged."
        )
        for line in report.notes:
            self.stdout.write(line)


class ExportCommand(BaseCommand):
    """Write one YAML file."""

    exporter: Callable[[], str]

    def add_arguments(self, parser: CommandParser) -> None:
        """Define the arguments."""
        parser.add_argument("--output", type=Path, help="file to write; default: standard output")

    def handle(self, *_: Any, **options: Any) -> None:
        """Write the export."""
        text = type(self).exporter()
        if options["output"] is None:
            self.stdout.write(text, ending="")
        else:
            options["output"].write_text(text, encoding="utf-8")
