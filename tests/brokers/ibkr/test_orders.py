"""Mapping of orders, the order tracker, and orders at the gateway."""

import asyncio
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from ib_async import CommissionReport, Order, OrderState
from ib_async import Execution as IBExecution

from brokers.broker_types import OrderStatus, OrderType
from brokers.exceptions import OrderOutcomeUnknown
from brokers.ibkr import mapping
from brokers.ibkr.client import InteractiveBrokers
from brokers.ibkr.order_tracker import OrderTracker
from tests.brokers.ibkr.conftest import ACCOUNT, connection_settings

NAN = float("nan")
SPY = mapping.smart_stock("SPY", 1)


@pytest.mark.parametrize(
    ("received", "price"),
    [(99.99, "99.99"), (-1, None), (0, None), (NAN, None), (float("inf"), None), (1.7976931348623157e308, None)],
)
def test_price_not_finite_or_not_positive_is_none(received, price):
    assert mapping.price(received) == (Decimal(price) if price else None)


@pytest.mark.parametrize(
    ("limit", "quantity", "rounded"),
    [("100.018", 1, "100.01"), ("100.012", -1, "100.02"), ("0.12345", 1, "0.1234"), ("100.01", -1, "100.01")],
)
def test_round_to_tick_never_worsens_the_limit(limit, quantity, rounded):
    steps = ((Decimal(0), Decimal("0.0001")), (Decimal(1), Decimal("0.01")))
    assert mapping.round_to_tick(Decimal(limit), Decimal(quantity), steps) == Decimal(rounded)


@pytest.mark.parametrize(
    ("ib_status", "filled", "rejected", "ended", "status"),
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
def test_order_status_prefers_fills_then_proof_then_last_status(ib_status, filled, rejected, ended, status):
    found = mapping.order_status(ib_status, total=Decimal(10), filled=Decimal(filled), rejected=rejected, ended=ended)
    assert found is status


def test_order_id_reused_after_restart_is_another_order():
    tracker = OrderTracker(7, lambda _: None)
    old = tracker.add_submitted(5, SPY, Order(action="SELL", totalQuantity=10, account=ACCOUNT, orderRef="old"))
    tracker.on_status(5, 7, 1001, "Submitted", 0, 0)
    tracker.on_open_order(
        SPY,
        Order(orderId=5, clientId=7, permId=1002, action="BUY", totalQuantity=3, account=ACCOUNT, orderRef="new"),
        OrderState(status="Submitted"),
    )
    fill = IBExecution(
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
    tracker.on_execution(SPY, fill)
    tracker.on_commission(CommissionReport(execId="0001.02.01.01", commission=1.0, currency="USD"))
    new = tracker.find_by_client_order_id(ACCOUNT, "new")
    assert (old.filled, new.filled, new.status, new.lacks_commission) == (0, 3, OrderStatus.FILLED, False)


def connector(gateway, **fields):
    return InteractiveBrokers(connection_settings(gateway, client_id=7, request_timeout_seconds=5), **fields)


def buy(client, number):
    return client.place_order(
        ACCOUNT, "SPY", Decimal(1), OrderType.LIMIT, Decimal(200), client_order_id=f"many-{number}"
    )


def test_disconnect_waits_for_acknowledgement_of_submitted_orders(gateway):
    async def flood():
        client = connector(gateway)
        await client.connect()
        await client.unknown_symbols(["SPY"])
        orders = [asyncio.create_task(buy(client, number)) for number in range(60)]
        await asyncio.sleep(0)
        await client.disconnect()
        return await asyncio.gather(*orders, return_exceptions=True)

    results = asyncio.run(flood())
    assert not [one for one in results if isinstance(one, OrderOutcomeUnknown)], (
        "an order was submitted and not waited for"
    )
    known = sorted(one.client_order_id for one in results if not isinstance(one, Exception))
    assert known == sorted(order.ref for order in gateway.records.orders)
    assert len(known) >= 40


def test_orders_that_wait_for_their_turn_never_enter_the_queue_of_the_library(gateway):
    """Seventy orders, each sent in the loop pass after its turn: the library would queue from the 46th on."""

    async def in_turn():
        client = connector(gateway)
        await client.connect()
        await client.unknown_symbols(["SPY"])
        queued = []
        client._connection.ib.client.throttleStart += lambda: queued.append(len(gateway.records.orders))
        orders = []
        for number in range(70):
            await client.wait_for_turn()
            orders.append(asyncio.create_task(buy(client, number)))
            await asyncio.sleep(0)
        await asyncio.gather(*orders)
        await client.disconnect()
        return queued

    assert asyncio.run(in_turn()) == []
    assert len(gateway.records.orders) == 70


def test_client_order_id_is_submitted_once_per_connection(gateway):
    async def twice():
        client = connector(gateway)
        await client.connect()
        await buy(client, 1)
        with pytest.raises(OrderOutcomeUnknown, match="submitted before"):
            await buy(client, 1)
        await client.disconnect()

    asyncio.run(twice())
    assert len(gateway.records.orders_with("many-1")) == 1
