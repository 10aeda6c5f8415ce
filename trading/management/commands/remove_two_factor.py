"""`manage.py remove_two_factor USER`: remove the two-factor devices of a user who has lost them."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from trading.access.audit import note
from trading.actions.safety_report import report_change
from trading.management.lookup import find_user
from trading.models import Authenticator


class Command(BaseCommand):
    help = "Remove the two-factor devices and backup codes of a user who has lost them."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("user", help="user name")

    def handle(self, *_: Any, **options: Any) -> None:
        user = find_user(options["user"])
        devices = Authenticator.objects.filter(user=user)
        count = devices.count()
        devices.delete()
        if count:
            note("one-time codes removed", user.username, "By command.")
            report_change(None, f"two-factor devices of {user.username} removed")
        self.stdout.write(f"Removed two-factor devices of {user.username}: {count}.")
