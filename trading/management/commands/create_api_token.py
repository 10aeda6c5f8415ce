"""`manage.py create_api_token NAME`: create an API token and print it once."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from trading.access.api_tokens import create_token
from trading.access.audit import note
from trading.actions.safety_report import report_change
from trading.management.lookup import USAGE, find_user
from trading.models import ApiScope


class Command(BaseCommand):
    help = "Create an API token and print it. It is not shown again. It has at most the permissions of its owner."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="name of the token, for example its purpose")
        parser.add_argument("--user", required=True, help="owner of the token; limits its permissions")
        parser.add_argument(
            "--scope",
            dest="scopes",
            action="append",
            choices=ApiScope.values,
            help="permitted use; can be repeated (default: read)",
        )
        parser.add_argument("--days", type=int, default=90, help="lifetime in days (default: 90)")

    def handle(self, *_: Any, **options: Any) -> None:
        owner = find_user(options["user"])
        if options["days"] < 1:
            raise CommandError("--days must be 1 or more.", returncode=USAGE)
        row, token = create_token(options["name"], owner, options["scopes"] or [ApiScope.READ], days=options["days"])
        detail = f"For {owner.username}, {', '.join(row.scopes)}."
        note("api token added", str(row), detail)
        if row.scopes != [ApiScope.READ]:
            report_change(None, f"API token {row} added. {detail}")
        self.stdout.write(token)
