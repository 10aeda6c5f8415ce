"""`manage.py tidy`: delete data older than the retention settings."""

from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from trading.journal.retention import delete_expired


class Command(BaseCommand):
    help = "Delete runs, events, values, messages and prices older than KEEP_..._DAYS. Never deletes unfinished data."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="delete nothing, print what would be deleted")

    def handle(self, *_: Any, **options: Any) -> None:
        deleted = asdict(delete_expired(dry_run=options["dry_run"]))
        counts = ", ".join(f"{count} {kind}" for kind, count in deleted.items())
        self.stdout.write(f"{'Would delete' if options['dry_run'] else 'Deleted'}: {counts}.")
