"""Account snapshots: what is cash, and which fills change it."""

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import TypeVar

import pytest

from brokers.ibkr import mapping
from brokers.ibkr.client import InteractiveBrokers
from tests.brokers.ibkr.conftest import ACCOUNT, connection_settings
from tests.support.ibkr_gateway import AccountRecords, GatewayOrder, GatewayThread

T = TypeVar("T")


def with_client(gateway: GatewayThread, action: Callable[[InteractiveBrokers], Awaitable[T]]) -> T:
    """Connect, run the action with the client, and disconnect."""

    async def run() -> T:
        client = InteractiveBrokers(connection_settings(gateway))
        await client.connect()
        try:
            return await action(client)
        finally:
            await client.disconnect()

    return asyncio.run(run())


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

    async def cash_before_and_after(client: InteractiveBrokers) -> tuple[Decimal, Decimal]:
        before = await client.get_account_snapshot(ACCOUNT)
        await asyncio.to_thread(gateway.do, fill)
        return before.cash_usd, (await client.get_account_snapshot(ACCOUNT)).cash_usd

    assert with_client(gateway, cash_before_and_after) == (100_000, 99_999)


UNSET = "1.7976931348623157E308"
DEFICIT = ("-100.0", "90000.00", "60000.00")


@pytest.mark.parametrize(
    ("held", "quantity", "what_if", "accepted"),
    [
        (10, -10, DEFICIT, True),
        (10, -4, DEFICIT, True),
        (10, -11, DEFICIT, False),
        (10, 5, DEFICIT, False),
        (-10, 10, DEFICIT, True),
        (-10, 11, DEFICIT, False),
        (-10, -1, DEFICIT, False),
        (0, 5, DEFICIT, False),
        (0, 5, ("100.0", "50000.00", "60000.00"), True),
        (0, 5, ("100.0", UNSET, "60000.00"), True),
        (0, 5, ("100.0", "50000.00", UNSET), True),
        (0, 5, ("100.0", "", ""), True),
    ],
)
def test_what_if_order_that_reduces_a_position_is_feasible_in_a_margin_deficit(
    gateway: GatewayThread,
    records: AccountRecords,
    held: int,
    quantity: int,
    what_if: tuple[str, str, str],
    accepted: bool,
) -> None:
    records.accounts[ACCOUNT].positions = {records.stock("SPY").con_id: Decimal(held)}
    records.accounts[ACCOUNT].what_if = what_if

    answer = with_client(gateway, lambda client: client.check_feasible(ACCOUNT, "SPY", Decimal(quantity), Decimal(100)))
    assert answer.accepted is accepted


def test_what_if_order_is_not_reducing_because_of_another_contract_of_the_symbol(
    gateway: GatewayThread, records: AccountRecords
) -> None:
    """A sell at NASDAQ with nothing held there opens a short position, whatever is held at EBS."""
    records.add_instrument("MSFT", primary_exchange="NASDAQ")
    other = records.add_instrument("MSFT", primary_exchange="EBS", smart=False)
    records.accounts[ACCOUNT].positions = {other.con_id: Decimal(10)}
    records.accounts[ACCOUNT].what_if = DEFICIT

    answer = with_client(gateway, lambda client: client.check_feasible(ACCOUNT, "MSFT", Decimal(-10), Decimal(100)))
    assert answer.accepted is False


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (UNSET, None),
        (f"-{UNSET}", None),
        (1.7976931348623157e308, None),
        (float("nan"), None),
        (float("-inf"), None),
        ("Infinity", None),
        ("n/a", None),
        ("", None),
        (None, None),
        ("0.0", Decimal("0.0")),
        ("12345.67", Decimal("12345.67")),
    ],
)
def test_exact_returns_none_for_a_number_that_is_unset(value: object, number: Decimal | None) -> None:
    assert mapping.exact(value) == number  # type: ignore[arg-type]
