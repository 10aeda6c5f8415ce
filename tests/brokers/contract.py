"""The contract suite of connectors. A connector's tests subclass `ConnectorContract` and provide a harness."""

import asyncio
import logging
from abc import ABC, abstractmethod
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from asgiref.sync import sync_to_async

from brokers.base import BrokerClient
from brokers.broker_types import Execution, OrderResult, OrderStatus, OrderType, TimeInForce
from brokers.exceptions import (
    AccountNotManaged,
    BrokerConnectionError,
    BrokerError,
    OrderExecutionError,
    OrderOutcomeUnknown,
    OrderRejected,
)

WAIT_SECONDS = 10


class Harness(ABC):
    """Access of the suite to a broker's records and faults."""

    account_id = "CONTRACT1"

    @abstractmethod
    def client(self, price_cache=None):
        """Return an unconnected connector for the account, which has 100,000 USD and 10 SPY."""

    @abstractmethod
    def fault(self, what, symbol=""):
        """Script a fault: reject, silent, lost, drop, no_fill, mute, partial or missing_quote."""

    @abstractmethod
    def orders_at_the_broker(self, client_order_id):
        """Return the number of orders that the broker has with the id."""


class MemoryCache:
    """A price cache whose entries do not expire."""

    def __init__(self):
        self.prices = {}

    async def get(self, symbols):
        return {symbol: self.prices[symbol] for symbol in symbols if symbol in self.prices}

    async def put(self, prices):
        self.prices.update(prices)


def run(coroutine):
    return asyncio.run(asyncio.wait_for(coroutine, WAIT_SECONDS * 3))


class ConnectorContract:
    """The suite. Subclasses provide the fixture `harness`."""

    def with_client(self, harness, action, **options):
        """Connect, run the action with the client, and disconnect."""

        async def run_all():
            client = harness.client(**options)
            await client.connect()
            try:
                return await action(client)
            finally:
                await client.disconnect()

        return run(run_all())

    def test_describe_returns_names_of_known_symbols_only(self, harness):
        names = self.with_client(harness, lambda client: client.describe(["SPY", "NOSUCH1"]))
        assert set(names) <= {"SPY"}
        assert all(name.name for name in names.values())

    def buy(self, harness, client, shares=5, client_order_id="c-1", symbol="SPY", limit="2000"):
        return client.place_order(
            harness.account_id,
            symbol,
            Decimal(shares),
            OrderType.LIMIT,
            Decimal(limit),
            client_order_id=client_order_id,
        )

    @staticmethod
    async def until(client, account_id, client_order_id, *statuses):
        """Wait until the order has one of the statuses."""

        async def poll():
            while True:
                found = await client.find_order(account_id, client_order_id)
                if found is not None and found.status in statuses:
                    return found
                await asyncio.sleep(0.05)

        return await asyncio.wait_for(poll(), WAIT_SECONDS)

    def test_connector_declares_its_usual_commission(self, harness):
        """Without a declaration, new policies would set aside one percent of each order."""
        declared = type(harness.client()).usual_commission
        assert declared is not BrokerClient.usual_commission
        assert (declared.rate if declared.kind == "rate" else declared.max_rate) <= Decimal("0.05")

    def test_connect_and_disconnect_can_be_repeated(self, harness):
        async def run_all():
            client = harness.client()
            assert not client.is_connected
            await client.connect()
            assert client.is_connected
            await client.disconnect()
            await client.disconnect()
            assert not client.is_connected
            await client.connect()
            assert client.is_connected
            await client.disconnect()

        run(run_all())

    def test_snapshot_total_is_cash_plus_positions(self, harness):
        snapshot = self.with_client(harness, lambda client: client.get_account_snapshot(harness.account_id))
        (position,) = snapshot.positions
        assert (position.symbol, position.quantity, position.is_us_stock) == ("SPY", 10, True)
        assert snapshot.total_value_usd == snapshot.cash_usd + position.quantity * position.market_price
        assert snapshot.as_of.tzinfo is not None

    def test_snapshot_of_foreign_account_raises_account_not_managed(self, harness):
        with pytest.raises(AccountNotManaged):
            self.with_client(harness, lambda client: client.get_account_snapshot("FOREIGN"))

    def test_prices_are_two_sided_and_in_requested_order(self, harness):
        prices = self.with_client(harness, lambda client: client.get_multiple_market_prices(["IEF", "SPY", "IEF"]))
        assert list(prices) == ["IEF", "SPY"]
        assert all(price.is_two_sided and price.as_of.tzinfo for price in prices.values())

    def test_prices_leave_out_symbol_without_quote(self, harness):
        harness.fault("missing_quote", "IEF")
        prices = self.with_client(harness, lambda client: client.get_multiple_market_prices(["IEF", "SPY"]))
        assert list(prices) == ["SPY"]

    def test_prices_in_cache_are_used_and_logged(self, harness, caplog):
        cache = MemoryCache()

        async def twice(client):
            first = await client.get_multiple_market_prices(["SPY"])
            with caplog.at_level(logging.INFO):
                return first, await client.get_multiple_market_prices(["SPY"])

        first, second = self.with_client(harness, twice, price_cache=cache)
        assert first == second
        assert any(line.startswith("Using cached price for SPY (age ") for line in caplog.messages)

    def test_unknown_symbols_returns_untradable_symbols(self, harness):
        assert self.with_client(harness, lambda client: client.unknown_symbols(["SPY", "NOSUCH"])) == ("NOSUCH",)

    def test_order_filled_has_executions_with_commission(self, harness):
        async def trade(client):
            since = datetime.now(UTC) - timedelta(minutes=1)
            await self.buy(harness, client)
            done = await self.until(client, harness.account_id, "c-1", OrderStatus.FILLED)
            return done, await client.get_executions(harness.account_id, since=since, client_order_id="c-1")

        done, fills = self.with_client(harness, trade)
        assert (done.quantity, done.filled_quantity) == (5, 5)
        assert sum(fill.quantity for fill in fills) == 5
        assert all(fill.commission_usd is not None and fill.price_usd > 0 for fill in fills)
        assert len({fill.execution_id for fill in fills}) == len(fills)

    def test_wait_for_turn_returns_and_the_order_after_it_is_sent(self, harness):
        async def trade(client):
            await client.wait_for_turn()
            return await self.buy(harness, client)

        self.with_client(harness, trade)
        assert harness.orders_at_the_broker("c-1") == 1

    def test_order_to_sell_has_negative_quantities(self, harness):
        async def trade(client):
            await client.place_order(
                harness.account_id, "SPY", Decimal(-4), OrderType.LIMIT, Decimal("1.00"), client_order_id="c-1"
            )
            return await self.until(client, harness.account_id, "c-1", OrderStatus.FILLED)

        done = self.with_client(harness, trade)
        assert (done.quantity, done.filled_quantity) == (-4, -4)

    def test_order_updates_contain_status_and_executions(self, harness):
        async def trade(client):
            seen = []

            async def listen():
                async for update in client.order_updates():
                    if update.client_order_id == "c-1":
                        seen.append(update)
                    if any(isinstance(u, Execution) for u in seen) and any(
                        isinstance(u, OrderResult) and u.status is OrderStatus.FILLED for u in seen
                    ):
                        return

            listener = asyncio.create_task(listen())
            await self.buy(harness, client)
            await asyncio.wait_for(listener, WAIT_SECONDS)
            return seen

        seen = self.with_client(harness, trade)
        assert {update.symbol for update in seen} == {"SPY"}

    def test_order_rejected_raises_and_is_not_stored(self, harness):
        harness.fault("reject", "SPY")
        with pytest.raises(OrderRejected) as caught:
            self.with_client(harness, lambda client: self.buy(harness, client))
        assert caught.value.message
        assert harness.orders_at_the_broker("c-1") == 0

    @pytest.mark.parametrize(("fault", "count"), [("silent", 1), ("lost", 0)])
    def test_order_not_acknowledged_raises_outcome_unknown(self, harness, fault, count):
        harness.fault(fault, "SPY")
        with pytest.raises(OrderOutcomeUnknown):
            self.with_client(harness, lambda client: self.buy(harness, client))
        assert harness.orders_at_the_broker("c-1") == count

    def test_find_order_after_reconnect_returns_order(self, harness):
        async def reconnect():
            first = harness.client()
            await first.connect()
            await self.buy(harness, first)
            await first.disconnect()
            second = harness.client()
            await second.connect()
            found = await self.until(second, harness.account_id, "c-1", OrderStatus.FILLED, OrderStatus.WORKING)
            nothing = await second.find_order(harness.account_id, "c-none")
            await second.disconnect()
            return found, nothing

        found, nothing = run(reconnect())
        assert (found.client_order_id, found.quantity) == ("c-1", 5)
        assert nothing is None

    def test_cancel_of_open_order_is_confirmed(self, harness):
        async def cancel(client):
            await self.buy(harness, client, limit="1.00")
            (order,) = await client.get_open_orders(harness.account_id)
            await client.cancel_order(harness.account_id, order.order_id)
            done = await self.until(client, harness.account_id, "c-1", OrderStatus.CANCELLED)
            return order, done, await client.get_open_orders(harness.account_id)

        order, done, left = self.with_client(harness, cancel)
        assert (order.client_order_id, order.remaining_quantity, done.filled_quantity, left) == ("c-1", 5, 0, [])

    def test_cancel_of_unknown_order_raises(self, harness):
        with pytest.raises(OrderExecutionError):
            self.with_client(harness, lambda client: client.cancel_order(harness.account_id, "999999"))

    def test_order_status_of_unknown_order_is_not_found(self, harness):
        result = self.with_client(harness, lambda client: client.get_order_status(harness.account_id, "999999"))
        assert result.status is OrderStatus.NOT_FOUND

    def test_order_partially_filled_is_working(self, harness):
        harness.fault("partial", "SPY")

        async def trade(client):
            await self.buy(harness, client, shares=10)

            async def poll():
                while not (found := await client.find_order(harness.account_id, "c-1")).filled_quantity:
                    await asyncio.sleep(0.05)
                return found

            return await asyncio.wait_for(poll(), WAIT_SECONDS)

        partly = self.with_client(harness, trade)
        assert 0 < partly.filled_quantity < 10
        assert partly.status is OrderStatus.WORKING

    def test_connection_lost_raises_in_calls_and_updates(self, harness):
        async def drop():
            client = harness.client()
            await client.connect()
            stream = client.order_updates()
            # In the thread of the connector's statements, so that no other database connection stays open.
            await sync_to_async(harness.fault)("drop", "SPY")
            with pytest.raises(OrderOutcomeUnknown):
                await self.buy(harness, client)
            with pytest.raises(BrokerConnectionError):
                await client.get_account_snapshot(harness.account_id)
            with pytest.raises(BrokerConnectionError):
                await asyncio.wait_for(anext(stream), WAIT_SECONDS)
            assert not client.is_connected

        run(drop())

    def test_snapshot_without_response_raises_within_deadline(self, harness):
        harness.fault("mute")
        with pytest.raises(BrokerError) as caught:
            self.with_client(harness, lambda client: client.get_account_snapshot(harness.account_id))
        assert caught.value.code in {"broker_silent", "broker_unreachable"}

    def test_order_with_supported_time_in_force_is_accepted(self, harness):
        async def trade(client):
            for number, tif in enumerate(sorted(client.capabilities.times_in_force)):
                await client.place_order(
                    harness.account_id,
                    "SPY",
                    Decimal(1),
                    OrderType.LIMIT,
                    Decimal(2000),
                    client_order_id=f"t-{number}",
                    time_in_force=TimeInForce(tif),
                )

        self.with_client(harness, trade)
        assert harness.orders_at_the_broker("t-0") == 1
