"""Creation of the simulated account records that accounts of the simulated broker need."""

from django.conf import settings

from accounts.models import Account
from brokers.simulated.matching_engine import open_account


def ensure_simulated_account(account: Account) -> bool:
    """Create the simulated account records of a simulated account that has none, with SIMULATED_OPENING_CASH_USD.

    Returns:
        Whether the records were created.
    """
    if account.broker != "simulated":
        return False
    return open_account(account.account_id, cash_usd=settings.SIMULATED_OPENING_CASH_USD)
