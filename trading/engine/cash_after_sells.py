"""The cash for the buys: what the fills of the sells imply, or less if the broker has less by now."""

import asyncio
from collections.abc import Sequence
from decimal import Decimal

from brokers.base import BrokerClient
from brokers.broker_types import AccountSnapshot
from brokers.exceptions import BrokerAPIError
from trading.journal.orders import OrderView

TOLERANCE_USD = Decimal(1)
"""Difference that is not waited for, in USD: interest, fees and rounding. The smaller value is used."""
POLL_SECONDS = 0.25
"""Interval between two reads of the cash, in seconds: nothing announces that it includes the fills."""


async def cash_after_sells(
    client: BrokerClient, account_id: str, before: AccountSnapshot, sells: Sequence[OrderView], timeout_seconds: float
) -> tuple[AccountSnapshot, Decimal]:
    """Return the account as it is now, and the cash that is available for buys, in USD.

    Account values lag behind fills by seconds, so that a smaller value proves nothing at first. It is read again until
    the value is the expected one or the timeout is over. A value that has not moved since before the sells then still
    lags as a whole, and the fills are believed. Any other smaller value means that money has left the account.

    Raises:
        BrokerError: the account cannot be read until the timeout.
    """
    proceeds = sum((sell.proceeds_usd for sell in sells), Decimal(0))
    expected = before.cash_usd + proceeds
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_seconds
    while True:
        is_last = loop.time() >= deadline
        try:
            now = await client.get_account_snapshot(account_id)
        except BrokerAPIError:  # a value is missing for the moment
            if is_last:
                raise
        else:
            if is_last or not proceeds or _reported(now) >= expected - TOLERANCE_USD:
                break
        await asyncio.sleep(POLL_SECONDS)
    lags = bool(proceeds) and abs(_reported(now) - _reported(before)) <= TOLERANCE_USD
    return now, expected if lags else min(_reported(now), expected)


def _reported(account: AccountSnapshot) -> Decimal:
    return account.cash_usd if account.reported_cash_usd is None else account.reported_cash_usd
