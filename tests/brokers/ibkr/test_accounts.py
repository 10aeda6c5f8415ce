"""Account snapshots: what is cash, and which fills change it."""

import asyncio
from decimal import Decimal

import pytest

from brokers.ibkr.client import InteractiveBrokers
from tests.brokers.ibkr.conftest import ACCOUNT, connection_settings
from tests.support.ibkr_gateway import AccountRecords, GatewayOrder, GatewayThread


@pytest.mark.parametrize(
    "fields",
    [
        {"sec_type": "FUT", "multiplier": "5", "expiry": "20261218"},
        {"sec_type": "OPT", "multiplier": "100", "expiry": "20261218", "right": "C"},
        {"currency": "EUR", "primary_exchange": "IBIS"},
    ],
    ids=["future", "option", "euro stock"],
)
def test_cash_after_a_fill_of_another_security_is_the_reported_cash(
    gateway: GatewayThread, records: AccountRecords, fields: dict[str, str]
) -> None:
    """Quantity times price is the cash flow of a US stock only: a future of 30,000 USD costs its commission."""
    other = records.add_instrument("MES", bid="5999", ask="6001", **fields)
    account = records.accounts[ACCOUNT]
    order = GatewayOrder(101, 900, 0, ACCOUNT, other, "BUY", Decimal(1), "MKT", None, "DAY", "manual")

    def fill() -> None:
        fill = records.fill(records.accept(order), Decimal(1), Decimal(6000))
        account.cash = Decimal(99_999)
        gateway.gateway.order_handler.send_fill(order, fill)

    async def cash_before_and_after() -> tuple[Decimal, Decimal]:
        client = InteractiveBrokers(connection_settings(gateway))
        await client.connect()
        try:
            before = await client.get_account_snapshot(ACCOUNT)
            await asyncio.to_thread(gateway.do, fill)
            return before.cash_usd, (await client.get_account_snapshot(ACCOUNT)).cash_usd
        finally:
            await client.disconnect()

    assert asyncio.run(cash_before_and_after()) == (100_000, 99_999)
