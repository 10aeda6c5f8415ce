"""The simulated broker passes the contract suite, and its account records follow the rules of a broker."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
import time_machine
from asgiref.sync import async_to_sync, sync_to_async
from django.db import connections
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from brokers.broker_types import ConnectionSettings, OrderType, TimeInForce
from brokers.exceptions import BrokerConnectionError, OrderRejected
from brokers.exchange_calendar import NEW_YORK
from brokers.simulated import matching_engine
from brokers.simulated.client import SimulatedBroker
from brokers.simulated.faults import Kind, set_fault
from brokers.simulated.market import quoted_prices
from brokers.simulated.models import SimulatedAccount, SimulatedMarket, SimulatedOrder
from brokers.simulated.price_model import quote_at
from brokers.simulated.universe import instruments
from tests.brokers.contract import ConnectorContract, Harness

FAULTS = {
    "reject": (Kind.REJECT, 0),
    "silent": (Kind.SILENT, 0),
    "lost": (Kind.LOST, 0),
    "drop": (Kind.DISCONNECT_BEFORE, 0),
    "mute": (Kind.MUTE, 0),
    "partial": (Kind.PARTIAL, 0.5),
    "missing_quote": (Kind.MISSING_QUOTE, 0),
}


def connector(account_id="CONTRACT1", client_id=7, **fields):
    settings = ConnectionSettings(
        environment="paper", client_id=client_id, account_ids=(account_id,), request_timeout_seconds=1
    )
    return SimulatedBroker(settings, **fields)


class SimulatedHarness(Harness):
    def client(self, price_cache=None):
        return connector(self.account_id, price_cache=price_cache)

    def fault(self, what, symbol=""):
        kind, number = FAULTS[what]
        set_fault(kind, symbol=symbol, number=number)

    def orders_at_the_broker(self, client_order_id):
        return SimulatedOrder.objects.filter(client_order_id=client_order_id).count()


@pytest.fixture(autouse=True)
def _close_database_connection(request):
    yield
    # Statements of the event loop ran in another thread, with its own database connection.
    asyncio.run(sync_to_async(connections.close_all)())


@pytest.mark.django_db(transaction=True)
class TestContract(ConnectorContract):
    @pytest.fixture
    def harness(self, still_market):
        matching_engine.open_account("CONTRACT1", cash_usd=Decimal(100_000))
        matching_engine.set_position("CONTRACT1", "SPY", Decimal(10))
        return SimulatedHarness()


@pytest.fixture
def account(still_market):
    matching_engine.open_account("B1", cash_usd=Decimal(10_000))
    matching_engine.set_position("B1", "IEF", Decimal(10))
    return SimulatedAccount.objects.get(account_id="B1")


def order(symbol="IEF", quantity="1", limit="200", tag="t-1"):
    return matching_engine.take_order(
        "B1", symbol, Decimal(quantity), OrderType.LIMIT, limit and Decimal(limit), tag, TimeInForce.DAY
    )


def execute_due():
    with matching_engine.locked_account("B1"):
        pass


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"symbol": "NOSUCH"}, "No security definition"),
        ({"quantity": "0.5"}, "Fractional"),
        ({"quantity": "0"}, "Fractional"),
        ({"limit": None}, "positive limit"),
        ({"limit": "-1"}, "positive limit"),
        ({"limit": "100.001"}, "minimum price variation"),
        ({"quantity": "-11"}, "Short selling"),
        ({"quantity": "101"}, "Insufficient funds"),
    ],
)
def test_order_invalid_is_rejected(account, fields, message):
    with pytest.raises(OrderRejected, match=message):
        order(**fields)
    assert not SimulatedOrder.objects.exists()


def test_order_for_shares_in_open_sell_is_rejected(account):
    order(quantity="-6", limit="5000", tag="a")
    with pytest.raises(OrderRejected, match="Short selling"):
        order(quantity="-6", limit="5000", tag="b")


def test_order_for_cash_in_open_buy_is_rejected(account):
    order(quantity="60", limit="90", tag="a")
    with pytest.raises(OrderRejected, match="Insufficient funds"):
        order(quantity="60", limit="90", tag="b")


def test_order_read_repeatedly_fills_once(account):
    order(quantity="2")
    for _ in range(3):
        execute_due()
    filled = SimulatedOrder.objects.get()
    assert (filled.status, filled.executions.count()) == ("FILLED", 1)
    account.refresh_from_db()
    fill = filled.executions.get()
    assert account.cash_usd == 10_000 - 2 * fill.price_usd - fill.commission_usd
    assert account.positions.get(symbol="IEF").quantity == 12


def test_order_with_limit_not_reached_stays_open(account):
    order(limit="1.00")
    execute_due()
    assert SimulatedOrder.objects.get().status == "WORKING"


def test_order_of_disconnected_client_fills(account, still_market):
    SimulatedMarket.objects.update(fill_latency_seconds=0.05)
    order()
    assert SimulatedOrder.objects.get().status == "WORKING"
    SimulatedOrder.objects.update(next_fill_at=timezone.now() - timedelta(seconds=1))
    execute_due()
    assert SimulatedOrder.objects.get().status == "FILLED"


@pytest.mark.parametrize(
    ("moments", "status"),
    [
        (["2026-11-25 15:59", "2026-11-25 15:59:30"], "FILLED"),  # in a session
        (["2026-11-25 17:00", "2026-11-26 12:00"], "WORKING"),  # after the close, and on Thanksgiving
        (["2026-11-25 17:00", "2026-11-26 12:00", "2026-11-27 09:30:01"], "FILLED"),  # at the next open
        (["2026-11-25 17:00", "2026-11-27 13:00:01"], "EXPIRED"),  # not read until the early close
    ],
)
def test_order_with_sessions_fills_in_session_and_expires_at_close(account, moments, status):
    SimulatedMarket.objects.update(always_open=False)
    for number, moment in enumerate(moments):
        with time_machine.travel(datetime.fromisoformat(moment).replace(tzinfo=NEW_YORK), tick=False):
            order() if number == 0 else execute_due()
    assert SimulatedOrder.objects.get().status == status


def test_connection_with_same_client_id_replaces_older_one(account):
    older, newer = connector("B1"), connector("B1")

    async def both():
        await older.connect()
        await newer.connect()
        await newer.get_account_snapshot("B1")
        with pytest.raises(BrokerConnectionError, match="replaced"):
            await older.place_order(
                "B1", "IEF", Decimal(1), OrderType.LIMIT, Decimal(200), client_order_id="from-replaced"
            )

    async_to_sync(both)()
    assert not SimulatedOrder.objects.exists()


def test_quote_with_halted_fault_is_halted(still_market):
    set_fault(Kind.HALTED, symbol="IEF")
    prices = quoted_prices(["IEF", "SPY"])
    assert {symbol: price.is_halted for symbol, price in prices.items()} == {"IEF": True, "SPY": False}


@given(
    st.sampled_from([row["symbol"] for row in instruments()]),
    st.integers(1, 5),
    st.datetimes(datetime(2026, 1, 1), datetime(2028, 1, 1)),  # noqa: DTZ001 - made aware below
)
def test_quote_is_two_sided_and_deterministic(symbol, seed, instant):
    row = next(row for row in instruments() if row["symbol"] == symbol)
    arguments = (
        seed,
        symbol,
        Decimal(row["base_price_usd"]),
        Decimal(row["spread_bps"]),
        Decimal(row["volatility_percent"]),
        instant.replace(tzinfo=UTC),
    )
    bid, ask = quote_at(*arguments)
    assert (bid, ask) == quote_at(*arguments)
    assert 0 < bid < ask
    assert bid == bid.quantize(Decimal("0.01")) and ask == ask.quantize(Decimal("0.01"))
    assert abs(bid / Decimal(row["base_price_usd"]) - 1) < Decimal("0.1")


def test_instruments_include_those_of_existing_files():
    symbols = {row["symbol"] for row in instruments()}
    assert len(symbols) >= 60
    assert symbols >= set(
        [
            "SPY",
            "QQQ",
            "IEF",
            "GLD",
            "DBC",
            "UUP",
            "UVXY",
            "BIL",
            "PDBC",
            "USDU",
            "VXX",
            "VXZ",
            "VIXY",
            "VIXM",
            "SVXY",
            "USMV",
        ]
    )
