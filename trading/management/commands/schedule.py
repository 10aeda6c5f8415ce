"""`manage.py schedule list|add|remove|clear [ACCOUNT]`: accounts that are rebalanced at the next market open."""

import json
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.models import Account
from trading.errors import Refused
from trading.models import ScheduleEntry
from trading.schedule.entries import clear_schedule, entry_text, schedule_account, unschedule_account

USAGE, REFUSED = 2, 3


class Command(BaseCommand):
    """Shows and changes the schedule."""

    help = "Accounts that are rebalanced at the next market open: list, add ACCOUNT, remove ACCOUNT, clear [ACCOUNT]."

    def add_arguments(self, parser: CommandParser) -> None:
        """The command line."""
        parser.add_argument("action", choices=("list", "add", "remove", "clear"))
        parser.add_argument("account", nargs="?", help="account id; needed by add and remove")
        parser.add_argument("--json", action="store_true", help="print a JSON list")

    def handle(self, *_: Any, **options: Any) -> None:
        """Does it, and prints what the schedule says now."""
        account = self._account(options["action"], options["account"])
        if options["action"] == "add" and account is not None:
            self._add(account)
        elif options["action"] == "remove" and account is not None:
            if not unschedule_account(account):
                raise CommandError(f"Account {account.account_id} is not on the schedule.", returncode=USAGE)
        elif options["action"] == "clear":
            removed = unschedule_account(account) if account is not None else clear_schedule()
            self.stderr.write(f"{removed} entries were taken off the schedule.")
        entries = ScheduleEntry.open_entries()
        if account is not None:
            entries = entries.filter(account=account)
        self._print(list(entries), as_json=options["json"])

    @staticmethod
    def _account(action: str, account_id: str | None) -> Account | None:
        if account_id is None:
            if action in {"add", "remove"}:
                raise CommandError(f"`schedule {action}` needs an account id.", returncode=USAGE)
            return None
        account = Account.objects.select_related("strategy").filter(account_id=account_id).first()
        if account is None:
            raise CommandError(f"unknown_account: There is no account {account_id!r}.", returncode=USAGE)
        return account

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
            self.stderr.write("The scheduler is off (SCHEDULER_ENABLED=false): nothing of this starts.")


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
