"""Mapping of orders, the order tracker, and orders at the gateway."""

import asyncio
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ib_async import CommissionReport, Order, OrderState
from ib_async import Execution as IBExecution

from brokers.broker_types import OrderResult, OrderStatus, OrderType
from brokers.exceptions import OrderOutcomeUnknown, OrderRejected
from brokers.ibkr import mapping
from brokers.ibkr.client import InteractiveBrokers
from brokers.ibkr.errors import explains_order
from brokers.ibkr.limits import Limits
from brokers.ibkr.order_tracker import OrderTracker
from tests.brokers.ibkr.conftest import ACCOUNT, connection_settings
from tests.support.ibkr_gateway import Kind
from tests.support.ibkr_gateway.session import COMPLETED_ORDERS

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


# ---- errors about orders

TOTAL_VALUE_LIMIT = (
    'The following order "ID:5" value estimate of 154,990 USD exceeds the Total Value Limit of 100,000 USD. '
    "Restriction is specified in Precautionary Settings of Global Configuration/Presets."
)


class Quick(InteractiveBrokers):
    """The connector with a shorter wait before an order in doubt is looked up."""

    limits = Limits(refusal_wait_seconds=0.05, max_commission_wait_seconds=0.1)


def with_client(gateway, action, seconds=2.0):
    """Connect, run the action with the client, and disconnect."""

    async def run():
        client = Quick(connection_settings(gateway, client_id=7, request_timeout_seconds=seconds))
        await client.connect()
        try:
            return await asyncio.wait_for(action(client), 20)
        finally:
            await client.disconnect()

    return asyncio.run(run())


@pytest.mark.parametrize("kind", [Kind.ORDER_ERROR, Kind.ORDER_ERROR_INACTIVE])
@pytest.mark.parametrize(
    ("code", "error", "status"),
    [
        (451, OrderRejected, OrderStatus.REJECTED),
        (463, OrderOutcomeUnknown, OrderStatus.ERROR),
        (504, OrderOutcomeUnknown, OrderStatus.ERROR),
        (9999, OrderOutcomeUnknown, OrderStatus.ERROR),
    ],
)
def test_order_refused_by_a_code_alone_is_rejected_only_if_the_code_is_listed(gateway, kind, code, error, status):
    gateway.fault(kind, symbol="SPY", code=code, message=TOTAL_VALUE_LIMIT)

    async def place(client):
        with pytest.raises(error) as caught:
            await buy(client, 1)
        return caught.value, await client.find_order(ACCOUNT, "many-1")

    raised, found = with_client(gateway, place)
    assert raised.message.startswith(f"IBKR {code}: {TOTAL_VALUE_LIMIT}")
    assert (found.status, found.filled_quantity) == (status, 0)
    assert found.message.startswith(f"IBKR {code}: {TOTAL_VALUE_LIMIT}")
    assert gateway.records.orders == []


def test_order_that_lives_after_an_error_of_unknown_meaning_is_found_once_lists_are_not_empty(gateway):
    """A gateway that has just connected to its broker lists nothing, which proves nothing."""
    gateway.gateway.empty_seconds = 3600
    gateway.fault(Kind.NO_FILL, symbol="SPY")
    gateway.fault(Kind.SILENT, symbol="SPY")
    gateway.fault(Kind.WARN_SILENTLY, symbol="SPY", code=9999)

    async def place(client):
        with pytest.raises(OrderOutcomeUnknown):
            await buy(client, 1)
        statuses = [(await client.find_order(ACCOUNT, "many-1")).status for _ in range(3)]
        gateway.do(gateway.gateway.show_records)
        return statuses, (await client.find_order(ACCOUNT, "many-1")).status

    statuses, found = with_client(gateway, place)
    assert (statuses, found) == ([OrderStatus.ERROR] * 3, OrderStatus.WORKING)


@pytest.mark.parametrize("code", [9999, 463])
@pytest.mark.parametrize("silent", [False, True])
def test_order_open_after_an_error_of_unknown_meaning_is_not_rejected(gateway, code, silent):
    gateway.fault(Kind.NO_FILL, symbol="SPY")
    if silent:
        gateway.fault(Kind.SILENT, symbol="SPY")
        gateway.fault(Kind.WARN_SILENTLY, symbol="SPY", code=code)
    else:
        gateway.fault(Kind.ORDER_WARNING, symbol="SPY", code=code)

    async def place(client):
        result = await buy(client, 1)
        return result, await client.get_open_orders(ACCOUNT)

    result, open_orders = with_client(gateway, place)
    assert result.status is OrderStatus.WORKING
    assert [order.client_order_id for order in open_orders] == ["many-1"]


def test_order_in_doubt_is_unknown_while_its_lookup_gets_no_answer(gateway):
    gateway.fault(Kind.ORDER_ERROR, symbol="SPY", code=9999)

    async def place(client):
        await client.unknown_symbols(["SPY"])
        await client.get_open_orders(ACCOUNT)
        gateway.gateway.unanswered.add(COMPLETED_ORDERS)
        with pytest.raises(OrderOutcomeUnknown):
            await buy(client, 1)

    with_client(gateway, place, seconds=0.3)


def test_order_with_a_warning_and_nothing_else_is_not_found(gateway):
    gateway.fault(Kind.ORDER_ERROR, symbol="SPY", code=399, message="Order Message: held until the open")

    async def place(client):
        with pytest.raises(OrderOutcomeUnknown):
            await buy(client, 1)
        return await client.find_order(ACCOUNT, "many-1")

    assert with_client(gateway, place, seconds=0.2) is None


@pytest.mark.parametrize("times", [1, 4])
def test_order_id_used_before_is_replaced_by_a_higher_one(gateway, times):
    gateway.fault(Kind.USED_ORDER_ID, symbol="SPY", times=times)
    updates = []

    async def place(client):
        reading = asyncio.create_task(collect(client, updates))
        result = await buy(client, 1)
        second = await buy(client, 2)
        reading.cancel()
        return result, second

    first, _ = with_client(gateway, place)
    assert first.status in {OrderStatus.WORKING, OrderStatus.FILLED}
    assert [order.ref for order in gateway.records.orders] == ["many-1", "many-2"]
    assert OrderStatus.REJECTED not in {update.status for update in updates if isinstance(update, OrderResult)}


def test_order_ids_used_before_without_end_reject_the_order_once(gateway):
    gateway.fault(Kind.USED_ORDER_ID, symbol="SPY", times=99)

    async def place(client):
        with pytest.raises(OrderRejected) as caught:
            await buy(client, 1)
        return caught.value, await client.find_order(ACCOUNT, "many-1")

    error, found = with_client(gateway, place)
    assert error.message.startswith("IBKR 103: ")
    assert (found.status, gateway.records.orders) == (OrderStatus.REJECTED, [])
    assert gateway.gateway.requests["3"] == Quick.limits.max_order_ids


async def collect(client, updates):
    async for update in client.order_updates():
        updates.append(update)


EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("error"), st.sampled_from([201, 321, 399, 434, 451, 463, 504, 2109, 9999, 10147])),
        st.tuples(st.just("status"), st.sampled_from(["PendingSubmit", "PreSubmitted", "Submitted", "Inactive"])),
        st.tuples(st.just("filled"), st.integers(0, 9)),
    ),
    max_size=8,
)


@given(EVENTS)
def test_order_is_never_ended_by_an_unexplained_error_and_never_in_doubt_while_open(events):
    tracker = OrderTracker(7, lambda _: None)
    record = tracker.add_submitted(5, SPY, Order(action="BUY", totalQuantity=10, account=ACCOUNT, orderRef="one"))
    most = 0
    for kind, value in events:
        before = record.status
        if kind == "error":
            tracker.on_error(5, value, "A message.")
            if not explains_order(value):
                assert record.status is before
        elif kind == "status":
            tracker.on_status(5, 7, 1001, value, most, 100.0)
            if value in mapping.OPEN_STATUSES:
                assert record.status is OrderStatus.WORKING
                assert not record.is_doubtful
        else:
            tracker.on_status(5, 7, 1001, "Submitted", value, 100.0)
            most = max(most, value)
        assert record.filled == most, "fills only grow"
        assert record.status is not OrderStatus.REJECTED or not record.filled


# ---- what-if orders


@pytest.mark.parametrize(
    ("fault", "accepted"),
    [
        ({"kind": Kind.REJECT_WHAT_IF}, False),
        ({"kind": Kind.REJECT_WHAT_IF, "code": 451}, False),
        ({"kind": Kind.REJECT_WHAT_IF, "code": 9999}, False),
        ({"kind": Kind.REJECT_WHAT_IF, "code": 103}, True),
        ({"kind": Kind.REJECT_WHAT_IF, "code": 504}, True),
        ({"kind": Kind.REJECT_WHAT_IF, "code": 322}, True),
        ({"kind": Kind.MUTE_WHAT_IF}, True),
    ],
)
def test_what_if_without_a_verdict_does_not_speak_against_the_order(gateway, fault, accepted):
    gateway.fault(**fault)

    async def check(client):
        answer = await client.check_feasible(ACCOUNT, "SPY", Decimal(1), Decimal(100))
        return answer, client.is_connected

    answer, is_connected = with_client(gateway, check, seconds=0.3)
    assert (answer.accepted, bool(answer.message), is_connected) == (accepted, True, True)
