"""`manage.py pause [ACCOUNT] [--reason TEXT] [--cancel-orders]`: submit no more orders until `resume`."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from trading.actions.kill_switch import BY_COMMAND, set_paused
from trading.management.lookup import find_account


class Command(BaseCommand):
    help = "Submit no more orders, for all accounts or one account. Orders already submitted remain active."
    paused = True

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("account", nargs="?", help="account id (default: all accounts)")
        parser.add_argument("--reason", default="", help="reason, stored in the history")
        if self.paused:
            parser.add_argument(
                "--cancel-orders", action="store_true", help="also cancel the working orders of runs in progress"
            )

    def handle(self, *_: Any, **options: Any) -> None:
        account = find_account(options["account"]) if options["account"] is not None else None
        cancel_orders = options.get("cancel_orders", False)
        changed = set_paused(
            account, paused=self.paused, reason=options["reason"], by=BY_COMMAND, cancel_orders=cancel_orders
        )
        accounts = f"account {account.account_id}" if account is not None else "all accounts"
        state = f"{'' if changed else 'was already '}{'paused' if self.paused else 'resumed'}"
        self.stdout.write(f"Trading {state} for {accounts}.")
        if cancel_orders:
            self.stdout.write("Runs in progress cancel their working orders.")
