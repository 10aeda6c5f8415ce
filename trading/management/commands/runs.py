"""`manage.py runs`: the runs, newest first."""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.models import Account
from trading.management.text_output import run_text
from trading.models import RebalanceRun
from trading.serializers import rebalance_result

USAGE = 2


class Command(BaseCommand):
    """Lists runs."""

    help = "Lists runs with their trades and orders, newest first."

    def add_arguments(self, parser: CommandParser) -> None:
        """The command line."""
        parser.add_argument("--account", help="of this account only")
        parser.add_argument("--json", action="store_true", help="print a JSON list")
        parser.add_argument("--limit", type=int, default=50, help="how many at most (50)")

    def handle(self, *_: Any, **options: Any) -> None:
        """Prints them."""
        runs = RebalanceRun.objects.select_related("account").prefetch_related("orders").order_by("-id")
        if options["account"]:
            if not Account.objects.filter(account_id=options["account"]).exists():
                raise CommandError(f"unknown_account: There is no account {options['account']!r}.", returncode=USAGE)
            runs = runs.filter(account__account_id=options["account"])
        runs = runs[: options["limit"]]
        if options["json"]:
            self.stdout.write(json.dumps([rebalance_result(run).model_dump(mode="json") for run in runs]))
            return
        for run in runs:
            self.stdout.write(run_text(run))
