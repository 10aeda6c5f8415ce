"""`manage.py accounts`: list accounts with their standing, value, return and next run."""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from accounts.models import Account
from trading.management.text_output import account_text
from trading.monitoring.accounts import account_summaries


class Command(BaseCommand):
    help = "List accounts with their standing, sorted by account id."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print a JSON list")

    def handle(self, *_: Any, **options: Any) -> None:
        accounts = Account.objects.with_followed_strategy().select_related("standing").order_by("account_id")
        summaries = account_summaries(list(accounts))
        if options["json"]:
            self.stdout.write(json.dumps([summary.model_dump(mode="json") for summary in summaries]))
            return
        for summary in summaries:
            self.stdout.write(account_text(summary))
