"""Objects that commands are given by id."""

from django.contrib.auth.models import User
from django.core.management.base import CommandError

from accounts.models import Account

USAGE = 2
"""Exit code for invalid arguments."""
REFUSED = 3
"""Exit code for a request that is not allowed."""


def find_account(account_id: str) -> Account:
    """Return an account, or end the command with a usage error."""
    account = Account.objects.filter(account_id=account_id).first()
    if account is None:
        message = f"unknown_account: There is no account {account_id!r}. Import it or add it in the admin."
        raise CommandError(message, returncode=USAGE)
    return account


def find_user(username: str) -> User:
    """Return an active user, or end the command with a usage error."""
    user = User.objects.filter(username=username, is_active=True).first()
    if user is None:
        raise CommandError(f"There is no active user {username!r}.", returncode=USAGE)
    return user
