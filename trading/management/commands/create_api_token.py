"""`manage.py create_api_token NAME`: a key to the API, printed once."""

from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError, CommandParser

from trading.access.api_tokens import create_token
from trading.access.audit import note
from trading.models import ApiScope

USAGE = 2


class Command(BaseCommand):
    """Makes a token."""

    help = "Makes a token of the API and prints it, this once. It can do no more than its owner."

    def add_arguments(self, parser: CommandParser) -> None:
        """The command line."""
        parser.add_argument("name", help="what it is for")
        parser.add_argument("--user", required=True, help="its owner, whose rights it has at most")
        parser.add_argument(
            "--scope",
            dest="scopes",
            action="append",
            choices=ApiScope.values,
            help="what it may be used for; can be given more than once (read)",
        )
        parser.add_argument("--days", type=int, default=90, help="how long it lives (90)")

    def handle(self, *_: Any, **options: Any) -> None:
        """Makes it."""
        owner = User.objects.filter(username=options["user"], is_active=True).first()
        if owner is None:
            raise CommandError(f"There is no active user {options['user']!r}.", returncode=USAGE)
        if options["days"] < 1:
            raise CommandError("--days must be 1 or more.", returncode=USAGE)
        row, token = create_token(options["name"], owner, options["scopes"] or [ApiScope.READ], days=options["days"])
        note("api token added", str(row), f"For {owner.username}, {', '.join(row.scopes)}.")
        self.stdout.write(token)
