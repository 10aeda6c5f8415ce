"""`manage.py runs`: list runs, newest first."""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from trading.management.lookup import find_account
from trading.management.text_output import run_text
from trading.models import RebalanceRun
from trading.serializers import rebalance_result


class Command(BaseCommand):
    help = "List runs with their trades and orders, newest first."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--account", help="account id (default: all accounts)")
        parser.add_argument("--json", action="store_true", help="print a JSON list")
        parser.add_argument("--limit", type=int, default=50, help="maximum number of runs (default: 50)")

    def handle(self, *_: Any, **options: Any) -> None:
        runs = RebalanceRun.objects.select_related("account").prefetch_related("orders").order_by("-id")
        if options["account"]:
            runs = runs.filter(account=find_account(options["account"]))
        runs = runs[: options["limit"]]
        if options["json"]:
            self.stdout.write(json.dumps([rebalance_result(run).model_dump(mode="json") for run in runs]))
            return
        for run in runs:
            self.stdout.write(run_text(run))
