"""The simulated broker under load: few statements however many orders there are, and a slow database delays answers."""

import asyncio
import threading
from decimal import Decimal

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext

from brokers.broker_types import ConnectionSettings, Execution, OrderStatus, OrderType
from brokers.exceptions import AccountNotManaged, BrokerSilent, OrderRejected
from brokers.simulated import matching_engine, requests
from brokers.simulated.client import SimulatedBroker
from brokers.simulated.faults import Kind, set_fault
from brokers.simulated.models import (
    SimulatedAccount,
    SimulatedExecution,
    SimulatedFault,
    SimulatedMarket,
    SimulatedOrder,
    SimulatedPosition,
)
from brokers.simulated.order_stream import OrderStream

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("still_market")]

SYMBOLS = ("SPY", "IEF", "GLD", "VTI", "BND", "TLT", "VNQ", "DBC", "VWO", "BIL")


def client(accounts, request_timeout_seconds=5.0):
    """A client of accounts with 1,000,000 USD each."""
    ids = tuple(f"L{number}" for number in range(accounts))
    for account_id in ids:
        matching_engine.open_account(account_id, cash_usd=Decimal(1_000_000))
    return SimulatedBroker(
        ConnectionSettings(
            environment="paper", client_id=9, account_ids=ids, request_timeout_seconds=request_timeout_seconds
        )
    )


def buy(broker, account_id, symbol="SPY", quantity=1, limit="2000"):
    return broker.place_order(
        account_id, symbol, Decimal(quantity), OrderType.LIMIT, Decimal(limit), client_order_id=f"{account_id}-{symbol}"
    )


def buy_everything(broker, limit="2000"):
    """Send one order for each account and symbol at the same time."""
    accounts = broker.settings.account_ids
    return asyncio.gather(
        *(buy(broker, account_id, symbol, limit=limit) for account_id in accounts for symbol in SYMBOLS)
    )


def statements(scenario):
    """Return the number of statements of a scenario, which awaits its argument right before what is counted."""
    with CaptureQueriesContext(connection) as captured:
        before = []

        async def count():
            # In the thread of the statements, which has their database connection.
            await sync_to_async(lambda: before.append(len(captured)))()

        async_to_sync(scenario)(count)
        return len(captured) - before[-1]


def statements_of_orders(accounts):
    broker = client(accounts)

    async def scenario(count):
        await broker.connect()
        await count()
        await buy_everything(broker)

    return statements(scenario)


def statements_of_fills(accounts):
    """Statements until the first update of a stream whose orders are all due."""
    broker = client(accounts)

    async def scenario(count):
        await broker.connect()
        await buy_everything(broker)
        stream = broker.order_updates()
        await count()
        await anext(stream)
        await stream.aclose()

    return statements(scenario)


def statements_of_snapshots(accounts):
    broker = client(accounts)

    async def scenario(count):
        await broker.connect()
        await buy_everything(broker)
        await count()
        await asyncio.gather(*(broker.get_account_snapshot(account_id) for account_id in broker.settings.account_ids))

    return statements(scenario)


@pytest.mark.parametrize("count", [statements_of_orders, statements_of_fills, statements_of_snapshots])
def test_statements_do_not_grow_with_accounts_and_orders(count):
    """Ten orders in one account, then fifty orders in five."""
    first = count(1)
    for model in (SimulatedExecution, SimulatedOrder, SimulatedPosition, SimulatedAccount):
        model.objects.all().delete()
    assert count(5) == first <= 25


def test_poll_without_changes_is_one_statement():
    """Fifty open orders whose limits are not reached: nothing is locked, and nothing else is read."""
    broker = client(5)

    async def scenario():
        await broker.connect()
        await buy_everything(broker, limit="1.00")

    async_to_sync(scenario)()
    SimulatedOrder.objects.update(next_fill_at=None)
    stream = OrderStream(lambda: broker.settings.account_ids)
    assert len(stream.poll()[0]) == 50
    with CaptureQueriesContext(connection) as captured:
        assert stream.poll() == ([], False)
    assert len(captured) == 1


def test_request_with_slow_database_waits():
    """The thread of the statements is busy for longer than the broker's request timeout."""
    broker, released = client(1, request_timeout_seconds=0.01), threading.Event()

    async def scenario():
        await broker.connect()
        busy = asyncio.create_task(sync_to_async(released.wait)(10))
        asyncio.get_running_loop().call_later(0.1, released.set)
        results = await asyncio.gather(buy(broker, "L0"), broker.get_account_snapshot("L0"), broker.describe(["SPY"]))
        assert await busy
        return results

    order, snapshot, names = async_to_sync(scenario)()
    assert (order.status, snapshot.cash_usd, set(names)) == (OrderStatus.WORKING, 1_000_000, {"SPY"})


def test_request_beyond_the_maximum_wait_is_silent(monkeypatch):
    monkeypatch.setattr(requests, "MAXIMUM_WAIT_SECONDS", 0.01)
    broker, released = client(1), threading.Event()

    async def scenario():
        await broker.connect()
        busy = asyncio.create_task(sync_to_async(released.wait)(10))
        with pytest.raises(BrokerSilent):
            await buy(broker, "L0")
        released.set()
        await busy

    async_to_sync(scenario)()


def test_order_rejected_leaves_orders_of_the_same_transaction():
    """A rejected order, one that the broker loses, and one of an account that it does not know, beside two good ones."""
    broker = client(2)
    SimulatedAccount.objects.filter(account_id="L1").delete()
    set_fault(Kind.REJECT, symbol="IEF")

    async def scenario():
        await broker.connect()
        orders = (buy(broker, "L0", symbol) for symbol in ("SPY", "IEF", "NOSUCH", "GLD"))
        return await asyncio.gather(*orders, buy(broker, "L1"), return_exceptions=True)

    first, rejected, unknown, last, foreign = async_to_sync(scenario)()
    assert [type(error) for error in (rejected, unknown, foreign)] == [OrderRejected, OrderRejected, AccountNotManaged]
    assert {first.symbol, last.symbol} == set(SimulatedOrder.objects.values_list("symbol", flat=True)) == {"SPY", "GLD"}
    assert SimulatedFault.objects.get().remaining == 0


def test_orders_of_one_transaction_share_the_cash():
    """Each order alone fits the cash; together only one of them does."""
    broker = client(1)

    async def scenario():
        await broker.connect()
        orders = (buy(broker, "L0", symbol, quantity=400) for symbol in ("SPY", "GLD"))
        return await asyncio.gather(*orders, return_exceptions=True)

    accepted, rejected = async_to_sync(scenario)()
    assert (accepted.status, type(rejected)) == (OrderStatus.WORKING, OrderRejected)


def test_position_sold_and_bought_in_one_transaction_is_stored_once():
    broker = client(1)
    matching_engine.set_position("L0", "SPY", Decimal(3))

    async def scenario():
        await broker.connect()
        await buy(broker, "L0", quantity=-3, limit="1")
        await buy(broker, "L0", quantity=2)

    SimulatedMarket.objects.update(fill_latency_seconds=3_600)
    async_to_sync(scenario)()
    SimulatedOrder.objects.update(next_fill_at="2026-01-02T00:00:00Z")
    with matching_engine.locked_account("L0"):
        assert [position.quantity for position in SimulatedPosition.objects.all()] == [2]
        assert SimulatedExecution.objects.count() == 2


def test_stream_reports_fills_of_all_accounts_once():
    broker = client(3)

    async def scenario():
        await broker.connect()
        await buy_everything(broker)
        fills, filled = [], []
        async for update in broker.order_updates():
            if isinstance(update, Execution):
                fills.append(update.execution_id)
            elif update.status is OrderStatus.FILLED:
                filled.append(update.order_id)
            if len(filled) == 3 * len(SYMBOLS):
                break
        return fills, filled

    fills, filled = async_to_sync(scenario)()
    assert len(fills) == len(set(fills)) == len(set(filled)) == 3 * len(SYMBOLS)


def test_stream_whose_lock_is_not_free_tries_again(monkeypatch):
    """SQLite gives up on a lock after its time-out; the orders that are due are filled by a later poll."""
    broker, original, locked = client(1), matching_engine.lock_accounts, []

    def locked_once(account_ids):
        if not locked:
            locked.append(True)
            raise OperationalError("database is locked")
        return original(account_ids)

    async def scenario():
        await broker.connect()
        await buy(broker, "L0")
        monkeypatch.setattr(requests, "lock_accounts", locked_once)
        async for update in broker.order_updates():
            if not isinstance(update, Execution) and update.status is OrderStatus.FILLED:
                break

    async_to_sync(scenario)()
    assert locked
