"""`manage.py events`: the inbox, newest first."""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from trading.management.text_output import event_text
from trading.models import StrategyEvent
from trading.serializers import event_line


class Command(BaseCommand):
    """Lists events."""

    help = "Lists the events that came in and what became of them, newest first."

    def add_arguments(self, parser: CommandParser) -> None:
        """The command line."""
        parser.add_argument("--json", action="store_true", help="print a JSON list")
        parser.add_argument("--limit", type=int, default=100, help="how many at most (100)")

    def handle(self, *_: Any, **options: Any) -> None:
        """Prints them."""
        events = StrategyEvent.objects.prefetch_related("runs__account").order_by("-id")[: options["limit"]]
        if options["json"]:
            self.stdout.write(json.dumps([event_line(event) for event in events]))
            return
        for event in events:
            self.stdout.write(event_text(event))
