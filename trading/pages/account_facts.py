"""Facts about an account that several pages show: why it cannot be previewed, and when its data is out of date."""

from datetime import datetime, timedelta

from django.conf import settings
from django.utils import timezone

from accounts.models import Account
from trading.engine.daily_valuation import last_close
from trading.market_calendar import market_calendar

VALUATION_TIME = timedelta(hours=2)
"""Time after a close within which the accounts are read."""


def reading_obstacle(account: Account) -> str:
    """Return in a sentence why the account is not read at its broker; empty if it is."""
    if not account.enabled:
        return "Disabled: it starts no runs."
    if account.type != settings.TRADING_MODE:
        return f"Not used: this site trades {settings.TRADING_MODE} accounts."
    return ""


def preview_obstacle(account: Account) -> str:
    """Return in a sentence why the account cannot be previewed now; empty if it can."""
    strategy = account.followed_strategy
    if obstacle := reading_obstacle(account):
        return obstacle
    if strategy is None:
        return "No strategy: there is nothing to rebalance to."
    return "" if strategy.enabled else "The strategy is disabled: it starts no runs."


def old_before() -> datetime:
    """Return the instant before which data is out of date: the latest close whose values should have been read."""
    return last_close(market_calendar(), timezone.now() - VALUATION_TIME)
