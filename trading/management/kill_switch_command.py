"""Base class of `pause` and `resume`."""

from typing import Any, ClassVar

from django.core.management.base import BaseCommand, CommandParser

from trading.actions.kill_switch import set_paused
from trading.management.lookup import find_account


class KillSwitchCommand(BaseCommand):
    """Sets the kill switch of all accounts or of one account."""

    paused: ClassVar[bool]

    def add_arguments(self, parser: CommandParser) -> None:
        """Define the arguments."""
        parser.add_argument("account", nargs="?", help="account id (default: all accounts)")
        parser.add_argument("--reason", default="", help="reason, stored in the history")

    def handle(self, *_: Any, **options: Any) -> None:
        """Set the switch and print its state."""
        account = find_account(options["account"]) if options["account"] is not None else None
        changed = set_paused(account, paused=self.paused, reason=options["reason"], by="by command")
        accounts = f"account {account.account_id}" if account is not None else "all accounts"
        state = f"{'' if changed else 'was already '}{'paused' if self.paused else 'resumed'}"
        self.stdout.write(f"Trading {state} for {accounts}.")
