"""`manage.py schedule list|add|remove|clear [ACCOUNT]`: the accounts to rebalance at the next market open."""

import json
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.models import Account
from trading.errors import Refused
from trading.management.lookup import USAGE, find_account
from trading.models import ScheduleEntry
from trading.schedule.entries import clear_schedule, entry_text, schedule_account, unschedule_account

REFUSED = 3


class Command(BaseCommand):
    """Lists and changes the schedule."""

    help = "List or change the accounts that are rebalanced at the next market open."

    def add_arguments(self, parser: CommandParser) -> None:
        """Define the arguments."""
        parser.add_argument("action", choices=("list", "add", "remove", "clear"), help="what to do")
        parser.add_argument("account", nargs="?", help="account id; required for add and remove")
        parser.add_argument("--json", action="store_true", help="print a JSON list")

    def handle(self, *_: Any, **options: Any) -> None:
        """Change the schedule, and print it."""
        account = self._account(options["action"], options["account"])
        if options["action"] == "add" and account is not None:
            self._add(account)
        elif options["action"] == "remove" and account is not None:
            if not unschedule_account(account):
                raise CommandError(f"Account {account.account_id} is not on the schedule.", returncode=USAGE)
        elif options["action"] == "clear":
            removed = unschedule_account(account) if account is not None else clear_schedule()
            self.stderr.write(f"Removed schedule entries: {removed}.")
        entries = ScheduleEntry.open_entries()
        if account is not None:
            entries = entries.filter(account=account)
        self._print(list(entries), as_json=options["json"])

    @staticmethod
    def _account(action: str, account_id: str | None) -> Account | None:
        if account_id is None:
            if action in {"add", "remove"}:
                raise CommandError(f"`schedule {action}` requires an account id.", returncode=USAGE)
            return None
        return find_account(account_id)

    @staticmethod
    def _add(account: Account) -> None:
        try:
            schedule_account(account)
        except Refused as refusal:
            raise CommandError(f"{refusal.code}: {refusal.message}", returncode=REFUSED) from refusal

    def _print(self, entries: list[ScheduleEntry], *, as_json: bool) -> None:
        if as_json:
            self.stdout.write(json.dumps([_as_json(entry) for entry in entries]))
            return
        for entry in entries:
            self.stdout.write(entry_text(entry))
        if not entries:
            self.stdout.write("Nothing is scheduled.")
        if not settings.SCHEDULER_ENABLED:
            self.stderr.write("SCHEDULER_ENABLED is off. Only runs that a guard deferred start automatically.")


def _as_json(entry: ScheduleEntry) -> dict[str, Any]:
    return {
        "account_id": entry.account.account_id,
        "session_date": entry.session_date.isoformat(),
        "due_at": entry.due_at.isoformat(),
        "origin": entry.origin,
        "state": entry.state,
        "attempt": entry.attempt,
        "run_id": entry.run.run_id if entry.run is not None else None,
        "message": entry.message,
    }
