"""The broker's words in ours, and the ledger of orders: proof decides, in whatever order it comes."""

import asyncio
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from ib_async import CommissionReport, Order, OrderState
from ib_async import Execution as WireExecution

from brokers.broker_types import ConnectionSettings, OrderStatus, OrderType
from brokers.exceptions import OrderOutcomeUnknown
from brokers.ibkr import mapping
from brokers.ibkr.client import InteractiveBrokers
from brokers.ibkr.order_tracker import OrderTracker
from tests.brokers.ibkr.conftest import ACCOUNT

NAN = float("nan")
SPY = mapping.smart_stock("SPY", 1)


@pytest.mark.parametrize(
    ("wire", "ours"),
    [(99.99, "99.99"), (-1, None), (0, None), (NAN, None), (float("inf"), None), (1.7976931348623157e308, None)],
)
def test_a_price_is_finite_and_above_zero_or_none(wire, ours):
    assert mapping.price(wire) == (Decimal(ours) if ours else None)


@pytest.mark.parametrize(
    ("limit", "quantity", "on_grid"),
    [("100.018", 1, "100.01"), ("100.012", -1, "100.02"), ("0.12345", 1, "0.1234"), ("100.01", -1, "100.01")],
)
def test_a_limit_is_put_on_the_tick_grid_and_never_worse_than_asked(limit, quantity, on_grid):
    steps = ((Decimal(0), Decimal("0.0001")), (Decimal(1), Decimal("0.01")))
    assert mapping.on_grid(Decimal(limit), Decimal(quantity), steps) == Decimal(on_grid)


@pytest.mark.parametrize(
    ("word", "filled", "refused", "ended", "status"),
    [
        ("", 0, False, False, OrderStatus.PENDING),
        ("PendingSubmit", 0, False, False, OrderStatus.PENDING),
        ("PreSubmitted", 0, False, False, OrderStatus.WORKING),
        ("Submitted", 4, False, False, OrderStatus.WORKING),
        ("Submitted", 10, False, False, OrderStatus.FILLED),
        ("", 10, False, False, OrderStatus.FILLED),
        ("Inactive", 0, False, False, OrderStatus.WORKING),
        ("Inactive", 0, True, False, OrderStatus.REJECTED),
        ("Submitted", 4, True, False, OrderStatus.CANCELLED),
        ("Cancelled", 4, False, False, OrderStatus.CANCELLED),
        ("Submitted", 0, False, True, OrderStatus.CANCELLED),
        ("WhatIsThis", 0, False, False, OrderStatus.UNKNOWN),
    ],
)
def test_fills_come_first_then_proof_then_the_last_word(word, filled, refused, ended, status):
    found = mapping.order_status(word, total=Decimal(10), filled=Decimal(filled), refused=refused, ended=ended)
    assert found is status


def test_an_order_id_that_is_used_again_after_a_restart_is_another_order():
    ledger = OrderTracker(7, lambda _: None)
    old = ledger.sent(5, SPY, Order(action="SELL", totalQuantity=10, account=ACCOUNT, orderRef="old"))
    ledger.on_status(5, 7, 1001, "Submitted", 0, 0)
    ledger.on_open_order(
        SPY,
        Order(orderId=5, clientId=7, permId=1002, action="BUY", totalQuantity=3, account=ACCOUNT, orderRef="new"),
        OrderState(status="Submitted"),
    )
    fill = WireExecution(
        execId="0001.02.01.01",
        time=datetime.now(UTC),
        acctNumber=ACCOUNT,
        side="BOT",
        shares=3,
        price=100.0,
        permId=1002,
        clientId=7,
        orderId=5,
        orderRef="new",
    )
    ledger.on_execution(SPY, fill)
    ledger.on_commission(CommissionReport(execId="0001.02.01.01", commission=1.0, currency="USD"))
    new = ledger.with_client_order_id(ACCOUNT, "new")
    assert (old.filled, new.filled, new.status, new.lacks_commission) == (0, 3, OrderStatus.FILLED, False)


def connector(gateway, **fields):
    settings = ConnectionSettings(
        environment="paper", client_id=7, account_ids=(ACCOUNT,), port=gateway.port, request_timeout_seconds=5
    )
    return InteractiveBrokers(settings, **fields)


def buy(client, number):
    return client.place_order(
        ACCOUNT, "SPY", Decimal(1), OrderType.LIMIT, Decimal(200), client_order_id=f"many-{number}"
    )


def test_a_disconnect_waits_for_what_was_sent_though_a_second_takes_forty_five_orders(gateway):
    async def flood():
        client = connector(gateway)
        await client.connect()
        await client.unknown_symbols(["SPY"])
        orders = [asyncio.create_task(buy(client, number)) for number in range(60)]
        await asyncio.sleep(0)
        await client.disconnect()
        return await asyncio.gather(*orders, return_exceptions=True)

    results = asyncio.run(flood())
    assert not [one for one in results if isinstance(one, OrderOutcomeUnknown)], "one was sent and not waited for"
    known = sorted(one.client_order_id for one in results if not isinstance(one, Exception))
    assert known == sorted(order.ref for order in gateway.book.orders)
    assert len(known) >= 40


def test_an_id_that_was_sent_is_never_sent_again_over_the_same_link(gateway):
    async def twice():
        client = connector(gateway)
        await client.connect()
        await buy(client, 1)
        with pytest.raises(OrderOutcomeUnknown, match="sent before"):
            await buy(client, 1)
        await client.disconnect()

    asyncio.run(twice())
    assert len(gateway.book.orders_with("many-1")) == 1
