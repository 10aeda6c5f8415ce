"""Accounts of the simulated broker need books; they are opened when the account is first seen."""

from django.conf import settings

from accounts.models import Account
from brokers.simulated.matching_engine import open_account


def ensure_simulated_account(account: Account) -> bool:
    """Opens the books of a simulated account that has none, with the cash that the installation says.

    Returns:
        Whether they are new.
    """
    if account.broker != "simulated":
        return False
    return open_account(account.account_id, cash_usd=settings.SIMULATED_OPENING_CASH_USD)
