"""Read an account at its broker on request, outside runs and the daily valuation."""

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction

from accounts.models import Account
from trading.access.permissions import check_permissions
from trading.errors import Refused
from trading.journal.account_status import start_refresh
from trading.journal.leases import has_live_lease
from trading.models import AccountRefresh
from trading.queue.wake import wake_refresh

REFRESH_PERMISSION = "accounts.preview_account"


def request_refresh(account: Account, user: User) -> AccountRefresh:
    """Queue that the account is read at the broker now. Moves money: no.

    The outcome is stored with the request: it has no error, or the code and message of what went wrong.

    Raises:
        Refused: the user lacks the permission, the account cannot be read here, or its connection is in use.
    """
    check_permissions(user, REFRESH_PERMISSION, action="refresh this account")
    if not account.enabled:
        raise Refused("account_disabled", f"Account {account.account_id} is disabled. Enable it to refresh it.")
    if account.type != settings.TRADING_MODE:
        raise Refused(
            "wrong_environment",
            f"Account {account.account_id} is a {account.type} account; this installation reads "
            f"{settings.TRADING_MODE} accounts.",
        )
    if has_live_lease(account.connection_id):
        raise Refused(
            "connection_busy", "A run or another task is using the connection of this account. Try again in a moment."
        )
    with transaction.atomic():
        request = start_refresh(account.pk, user.pk)
        wake_refresh(account.pk)
    return request
