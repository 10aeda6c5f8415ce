from django.conf import settings

from accounts.models import Account
from brokers.simulated.matching_engine import open_account


def ensure_simulated_account(account: Account) -> bool:
    """Create the records of a simulated account that has none. Return whether they were created."""
    is_simulated = account.broker == "simulated"
    return is_simulated and open_account(account.account_id, cash_usd=settings.SIMULATED_OPENING_CASH_USD)
