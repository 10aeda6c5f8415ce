"""Gateways whose settings, state or other clients stand in the way: each gives its own reason, and what can continues."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from brokers.broker_types import OrderType
from brokers.exceptions import (
    BrokerAPIError,
    BrokerConnectionError,
    BrokerSilent,
    CapabilityMissing,
    ClientIdInUse,
    ExecutionsUnavailable,
    OrderExecutionError,
    ReadOnlyApi,
)
from brokers.ibkr.client import InteractiveBrokers
from tests.brokers.ibkr.conftest import ACCOUNT, connection_settings
from tests.support.ibkr_gateway import GatewayOrder, Kind
from tests.support.ibkr_gateway.session import ALL_OPEN_ORDERS, EXECUTIONS, VALUES_MULTI

SECONDS = 0.5
OTHER_ACCOUNT = "DU1000002"


def with_client(gateway, action, seconds=SECONDS):
    """Connect, run the action with the client, and disconnect."""

    async def run():
        settings = connection_settings(gateway, connection_timeout_seconds=1, request_timeout_seconds=seconds)
        client = InteractiveBrokers(settings)
        await client.connect()
        try:
            return await action(client)
        finally:
            await client.disconnect()

    return asyncio.run(asyncio.wait_for(run(), 20))


def buy(client, client_order_id="c-1"):
    return client.place_order(
        ACCOUNT, "SPY", Decimal(1), OrderType.LIMIT, Decimal(200), client_order_id=client_order_id
    )


def since():
    return datetime.now(UTC) - timedelta(hours=1)


# ---- read-only API


@pytest.fixture
def read_only(gateway):
    gateway.gateway.is_read_only = True
    return gateway


@pytest.mark.parametrize(
    "request_orders",
    [
        lambda client: client.get_open_orders(ACCOUNT),
        lambda client: client.find_order(ACCOUNT, "c-1"),
        lambda client: client.get_order_status(ACCOUNT, "1"),
        buy,
    ],
    ids=["open orders", "find", "status", "place"],
)
def test_read_only_gateway_refuses_requests_about_orders_at_once(read_only, request_orders):
    async def request(client):
        with pytest.raises(ReadOnlyApi) as caught:
            await request_orders(client)
        return caught.value, client.is_connected

    error, is_connected = with_client(read_only, request, seconds=10)
    assert (error.code, is_connected) == ("read_only_api", True)
    assert "Turn off Read-Only API" in error.message
    assert isinstance(error, CapabilityMissing), "the engine records that the order was not sent"
    assert read_only.gateway.requests["3"] == 0


def test_read_only_gateway_serves_what_a_preview_needs(read_only):
    async def read(client):
        snapshot = await client.get_account_snapshot(ACCOUNT)
        prices = await client.get_multiple_market_prices(["SPY"])
        return (
            snapshot,
            prices,
            await client.get_positions(ACCOUNT),
            await client.get_executions(ACCOUNT, since=since()),
        )

    snapshot, prices, positions, executions = with_client(read_only, read, seconds=10)
    assert (snapshot.cash_usd, list(prices), len(positions), executions) == (100_000, ["SPY"], 1, [])


def test_error_321_without_an_id_in_another_language_ends_the_request_with_the_gateways_message(gateway):
    message = "Fehler bei der Bestätigung der Anfrage"

    async def read(client):
        await client.get_open_orders(ACCOUNT)
        gateway.gateway.unanswered.add(ALL_OPEN_ORDERS)
        reading = asyncio.create_task(client.get_open_orders(ACCOUNT))
        async with asyncio.timeout(5):
            while await asyncio.to_thread(gateway.do, lambda: gateway.gateway.requests[ALL_OPEN_ORDERS]) < 2:
                await asyncio.sleep(0)
        await asyncio.to_thread(gateway.do, gateway.gateway.send_error_to_all, 321, message)
        with pytest.raises(BrokerAPIError) as caught:
            await reading
        return caught.value, client.is_connected

    error, is_connected = with_client(gateway, read, seconds=10)
    assert error.message.startswith(f"IBKR 321: {message}") and is_connected


def test_error_321_to_a_cancel_request_leaves_the_order_open(gateway):
    gateway.fault(Kind.NO_FILL, symbol="SPY")

    async def cancel(client):
        order = await buy(client)
        gateway.gateway.is_read_only = True
        with pytest.raises(OrderExecutionError):
            await client.cancel_order(ACCOUNT, order.order_id)
        gateway.gateway.is_read_only = False
        return await client.find_order(ACCOUNT, "c-1")

    found = with_client(gateway, cancel)
    assert found.status == "WORKING"


# ---- executions that never end


def test_executions_that_never_end_leave_account_quotes_and_orders_usable(gateway):
    gateway.gateway.unanswered.add(EXECUTIONS)

    async def use(client):
        snapshot = await client.get_account_snapshot(ACCOUNT)
        with pytest.raises(ExecutionsUnavailable) as caught:
            await client.get_executions(ACCOUNT, since=since())
        await buy(client)
        return snapshot, caught.value, await client.find_order(ACCOUNT, "c-1"), client.is_connected

    snapshot, error, order, is_connected = with_client(gateway, use)
    assert (snapshot.cash_usd, error.code, is_connected) == (100_000, "executions_unavailable", True)
    assert order.filled_quantity == 1


# ---- values that go to another client


def test_account_that_another_client_shadows_is_read_by_another_request(gateway):
    gateway.gateway.followed = (12, OTHER_ACCOUNT)

    async def read(client):
        return await client.get_account_snapshot(ACCOUNT), await client.get_account_snapshot(ACCOUNT)

    snapshots = with_client(gateway, read)
    for snapshot in snapshots:
        (position,) = snapshot.positions
        assert (snapshot.cash_usd, snapshot.total_value_usd) == (100_000, 101_000)
        assert (position.symbol, position.quantity, position.market_price) == ("SPY", 10, 100)


def test_account_without_any_values_names_the_client_to_end(gateway):
    gateway.gateway.followed = (12, OTHER_ACCOUNT)
    gateway.gateway.unanswered.add(VALUES_MULTI)

    async def read(client):
        with pytest.raises(BrokerSilent) as caught:
            await client.get_account_snapshot(ACCOUNT)
        return caught.value.message

    message = with_client(gateway, read)
    assert "IBKR 2101" in message and "different account.  12" in message and "end that client" in message


# ---- the gateway's last message


@pytest.mark.parametrize(
    ("code", "message", "error", "code_of_error"),
    [
        (10141, "Paper trading disclaimer must first be accepted for API connection.", BrokerConnectionError, None),
        (503, "The TWS is out of date and must be upgraded.", BrokerConnectionError, None),
        (326, "Unable to connect as the client id is already in use.", ClientIdInUse, "client_id_in_use"),
        (9999, "A message of an unknown kind.", BrokerSilent, "broker_silent"),
    ],
)
def test_connect_refused_has_the_gateways_message(gateway, code, message, error, code_of_error):
    gateway.gateway.refusal = (code, message)
    client = InteractiveBrokers(connection_settings(gateway, connection_timeout_seconds=0.5))
    with pytest.raises(error) as caught:
        asyncio.run(client.connect())
    assert caught.value.code == (code_of_error or "broker_connection")
    if code != 326:
        assert f"IBKR {code}: {message}" in caught.value.message


def test_connect_refused_and_closed_has_the_gateways_message(gateway):
    gateway.gateway.refusal = (9999, "A message of an unknown kind.")
    client = InteractiveBrokers(connection_settings(gateway, connection_timeout_seconds=5))

    async def connect():
        connecting = asyncio.create_task(client.connect())
        async with asyncio.timeout(5):
            while not await asyncio.to_thread(gateway.do, lambda: gateway.gateway.requests["71"]):
                await asyncio.sleep(0.01)
        await asyncio.to_thread(gateway.do, gateway.gateway.close_sockets)
        await connecting

    with pytest.raises(BrokerConnectionError) as caught:
        asyncio.run(connect())
    assert "IBKR 9999: A message of an unknown kind." in caught.value.message


def test_connection_lost_has_the_gateways_message(gateway):
    async def lose(client):
        updates = client.order_updates()
        await asyncio.to_thread(
            gateway.do, gateway.gateway.send_error_to_all, 1300, "Socket port has been reset. Reconnect to port 4010."
        )
        await asyncio.to_thread(gateway.do, gateway.gateway.drop_all)
        with pytest.raises(BrokerConnectionError) as caught:
            await anext(updates)
        return caught.value.message

    message = with_client(gateway, lose)
    assert "IBKR 1300: Socket port has been reset. Reconnect to port 4010." in message


# ---- orders of other programs


@pytest.mark.parametrize(("client_id", "order_id"), [(0, 0), (0, -3), (55, 9), (101, -1)])
def test_open_order_of_another_program_names_where_to_cancel_it(gateway, client_id, order_id):
    records = gateway.records
    order = GatewayOrder(
        client_id, order_id, 0, ACCOUNT, records.stock("SPY"), "BUY", Decimal(1), "LMT", Decimal(1), "DAY", ""
    )
    gateway.do(records.accept, order)

    async def cancel(client):
        (found,) = await client.get_open_orders(ACCOUNT)
        with pytest.raises(OrderExecutionError) as caught:
            await client.cancel_order(ACCOUNT, found.order_id)
        return found, caught.value

    found, error = with_client(gateway, cancel)
    assert found.placed_in
    assert found.placed_in in error.message
    assert gateway.gateway.requests["4"] == 0


def test_own_open_order_can_be_cancelled_here(gateway):
    gateway.fault(Kind.NO_FILL, symbol="SPY")

    async def read(client):
        await buy(client)
        return await client.get_open_orders(ACCOUNT)

    (found,) = with_client(gateway, read)
    assert found.placed_in == ""
    assert gateway.gateway.requests[ALL_OPEN_ORDERS] == 1
