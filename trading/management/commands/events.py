"""`manage.py events`: list the events of the inbox, newest first."""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from trading.management.text_output import event_text
from trading.models import StrategyEvent
from trading.serializers import event_line


class Command(BaseCommand):
    help = "List events with their states and runs, newest first."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print a JSON list")
        parser.add_argument("--limit", type=int, default=100, help="maximum number of events (default: 100)")

    def handle(self, *_: Any, **options: Any) -> None:
        events = StrategyEvent.objects.prefetch_related("runs__account").order_by("-id")[: options["limit"]]
        if options["json"]:
            self.stdout.write(json.dumps([event_line(event) for event in events]))
            return
        for event in events:
            self.stdout.write(event_text(event))
