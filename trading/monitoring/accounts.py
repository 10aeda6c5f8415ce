"""Summaries of accounts, as `manage.py accounts --json` and the API return them."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from django.utils import timezone

from accounts.models import Account
from trading.market_calendar import market_calendar
from trading.models import AccountStanding, StandingState
from trading.models.run_documents import TradingValue
from trading.planning.performance import MONTH_DAYS, performance_of
from trading.schedule.next_run import next_run_times

NEVER_READ = "The account has not been read yet."
PLACES = Decimal("0.01")


class StandingLine(TradingValue):
    """The standing of an account; `as_of` is the age of value, cash and drift, null if it was never read."""

    state: StandingState
    as_of: datetime | None
    largest_drift_pp: Decimal | None
    reason_code: str
    reason: str


class AccountSummary(TradingValue):
    """An account with its standing. Money in US dollars; null if the account was never read.

    `return_30d_percent` leaves money paid in or out aside; null if a part of the history does not allow it.
    """

    account_id: str
    broker: str
    environment: str
    strategy: str | None
    enabled: bool
    standing: StandingLine
    value_usd: Decimal | None
    cash_usd: Decimal | None
    return_30d_percent: Decimal | None
    next_run_at: datetime | None


def account_summaries(accounts: Sequence[Account]) -> list[AccountSummary]:
    """Return the summaries of accounts with their strategies and standings, in the same order."""
    next_runs = next_run_times(accounts, timezone.now(), market_calendar())
    performances = performance_of([account.pk for account in accounts], MONTH_DAYS)
    return [
        _summary(account, performances[account.pk].over(MONTH_DAYS).percent, next_runs.get(account.pk))
        for account in accounts
    ]


def _summary(account: Account, return_percent: Decimal | None, next_run_at: datetime | None) -> AccountSummary:
    standing: AccountStanding | None = getattr(account, "standing", None)
    return AccountSummary(
        account_id=account.account_id,
        broker=account.broker,
        environment=account.type,
        strategy=account.followed_strategy.name if account.followed_strategy else None,
        enabled=account.enabled,
        standing=_standing_line(standing),
        value_usd=standing.total_value_usd.quantize(PLACES) if standing else None,
        cash_usd=standing.cash_usd.quantize(PLACES) if standing else None,
        return_30d_percent=None if return_percent is None else return_percent.quantize(PLACES),
        next_run_at=next_run_at,
    )


def _standing_line(standing: AccountStanding | None) -> StandingLine:
    if standing is None:
        return StandingLine(
            state=StandingState.UNKNOWN,
            as_of=None,
            largest_drift_pp=None,
            reason_code="never_compared",
            reason=NEVER_READ,
        )
    drift = standing.largest_drift_pp
    return StandingLine(
        state=StandingState(standing.state),
        as_of=standing.as_of,
        largest_drift_pp=None if drift is None else drift.quantize(PLACES),
        reason_code=standing.reason_code,
        reason=standing.reason,
    )
