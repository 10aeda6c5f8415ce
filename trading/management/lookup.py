"""Objects that commands are given by id."""

from django.core.management.base import CommandError

from accounts.models import Account

USAGE = 2
"""Exit code for invalid arguments."""


def find_account(account_id: str) -> Account:
    """Return an account, or end the command with a usage error."""
    account = Account.objects.filter(account_id=account_id).first()
    if account is None:
        message = f"unknown_account: There is no account {account_id!r}. Import it or add it in the admin."
        raise CommandError(message, returncode=USAGE)
    return account
