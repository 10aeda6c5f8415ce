"""What `pause` and `resume` have in common."""

from typing import Any, ClassVar

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.models import Account
from trading.actions.kill_switch import set_paused

USAGE = 2


class KillSwitchCommand(BaseCommand):
    """Turns the kill switch one way."""

    paused: ClassVar[bool]

    def add_arguments(self, parser: CommandParser) -> None:
        """The command line."""
        parser.add_argument("account", nargs="?", help="account id; all accounts when left out")
        parser.add_argument("--reason", default="", help="for people, kept in the history")

    def handle(self, *_: Any, **options: Any) -> None:
        """Turns it, and says what holds now."""
        account = None
        if options["account"] is not None:
            account = Account.objects.filter(account_id=options["account"]).first()
            if account is None:
                raise CommandError(f"unknown_account: There is no account {options['account']!r}.", returncode=USAGE)
        changed = set_paused(account, paused=self.paused, reason=options["reason"], by="by command")
        what = f"account {account.account_id}" if account is not None else "all accounts"
        state = "paused" if self.paused else "on"
        self.stdout.write(f"Trading is {'' if changed else 'already '}{state} for {what}.")
