"""`manage.py schedule list|add|remove|clear [ACCOUNT]`: the accounts to rebalance at the next market open."""

import json
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.models import Account
from trading.errors import Refused
from trading.management.lookup import REFUSED, USAGE, find_account
from trading.models import ScheduleEntry
from trading.schedule.entries import clear_schedule, entry_text, schedule_account, unschedule_account


class Command(BaseCommand):
    help = "List or change the accounts that are rebalanced at the next market open."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("action", choices=("list", "add", "remove", "clear"), help="what to do")
        parser.add_argument("account", nargs="?", help="account id; required for add and remove")
        parser.add_argument("--json", action="store_true", help="print a JSON list")

    def handle(self, *_: Any, **options: Any) -> None:
        account = None if options["account"] is None else find_account(options["account"])
        self._change(options["action"], account)
        entries = ScheduleEntry.open_entries()
        if account is not None:
            entries = entries.filter(account=account)
        if options["json"]:
            self.stdout.write(json.dumps([_as_json(entry) for entry in entries]))
            return
        for entry in entries:
            self.stdout.write(entry_text(entry))
        if not entries:
            self.stdout.write("Nothing is scheduled.")
        if not settings.SCHEDULER_ENABLED:
            self.stderr.write("SCHEDULER_ENABLED is off. Only runs that a guard deferred start automatically.")

    def _change(self, action: str, account: Account | None) -> None:
        if action == "clear":
            removed = clear_schedule() if account is None else unschedule_account(account)
            self.stderr.write(f"Removed schedule entries: {removed}.")
        elif action != "list" and account is None:
            raise CommandError(f"`schedule {action}` requires an account id.", returncode=USAGE)
        elif action == "remove" and account is not None and not unschedule_account(account):
            raise CommandError(f"Account {account.account_id} is not on the schedule.", returncode=USAGE)
        elif action == "add" and account is not None:
            try:
                schedule_account(account)
            except Refused as refusal:
                raise CommandError(f"{refusal.code}: {refusal.message}", returncode=REFUSED) from refusal


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
