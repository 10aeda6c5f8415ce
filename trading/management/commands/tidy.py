"""`manage.py tidy`: removes what is older than the installation keeps."""

from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from trading.journal.retention import delete_expired


class Command(BaseCommand):
    """Removes old rows."""

    help = "Removes runs, events, values, messages and prices older than KEEP_..._DAYS; nothing that is not settled."

    def add_arguments(self, parser: CommandParser) -> None:
        """The command line."""
        parser.add_argument("--dry-run", action="store_true", help="remove nothing, say what would go now")

    def handle(self, *_: Any, **options: Any) -> None:
        """Removes them, and says how many."""
        removed = asdict(delete_expired(dry_run=options["dry_run"]))
        words = ", ".join(f"{count} {kind}" for kind, count in removed.items())
        self.stdout.write(f"{'Would remove' if options['dry_run'] else 'Removed'}: {words}.")
