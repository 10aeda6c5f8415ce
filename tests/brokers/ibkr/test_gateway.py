"""The gateway of the tests behaves towards the unmodified client library like a real one."""

import asyncio

import pytest
from ib_async import IB, LimitOrder, Stock

from tests.brokers.ibkr.conftest import ACCOUNT
from tests.support.ibkr_gateway import Kind

WAIT_SECONDS = 10


def with_client(gateway, action, client_id=1):
    """Connect the library's client, run the action, and disconnect."""

    async def run():
        ib = IB()
        await ib.connectAsync("127.0.0.1", gateway.port, clientId=client_id, timeout=WAIT_SECONDS)
        try:
            return await action(ib)
        finally:
            ib.disconnect()

    return asyncio.run(asyncio.wait_for(run(), WAIT_SECONDS * 3))


async def until(event, condition):
    """Wait until the condition holds; check it after each event.

    The handler is connected before the first check. `asyncio.wait_for(event)` would connect it in a task that starts one
    turn of the loop later, and would miss an event in between.
    """
    happened = asyncio.Event()

    def handler(*_):
        happened.set()

    event.connect(handler)
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            while not condition():
                await happened.wait()
                happened.clear()
    finally:
        event.disconnect(handler)


def codes_of(ib):
    """Return a list that receives the codes of all further errors."""
    codes = []
    ib.errorEvent += lambda *error: codes.append(error[1])
    return codes


def spy():
    return Stock("SPY", "SMART", "USD")


def order(action="BUY", shares=5, limit=200.0, ref="r-1"):
    return LimitOrder(action, shares, limit, tif="DAY", account=ACCOUNT, orderRef=ref)


async def place_and_wait(ib, request):
    trade = ib.placeOrder(spy(), request)
    await until(ib.updateEvent, lambda: trade.isDone() and (not trade.fills or trade.fills[-1].commissionReport.execId))
    return trade


def test_connect_downloads_accounts_positions_and_values(gateway):
    async def read(ib):
        return ib.managedAccounts(), ib.positions(), ib.portfolio(), ib.accountValues(ACCOUNT)

    accounts, positions, portfolio, values = with_client(gateway, read)
    assert accounts == [ACCOUNT]
    assert [(one.contract.symbol, one.position) for one in positions] == [("SPY", 10)]
    assert [(one.contract.symbol, one.marketPrice) for one in portfolio] == [("SPY", 100)]
    assert [one.value for one in values if one.tag == "NetLiquidation"] == ["101000.00"]
    assert len(values) > 150, "as many rows as a real account has"


def test_contract_known_is_qualified_and_unknown_is_none(gateway):
    known, unknown = with_client(gateway, lambda ib: ib.qualifyContractsAsync(spy(), Stock("NOSUCH", "SMART", "USD")))
    assert (known.primaryExchange, known.conId > 0, unknown) == ("ARCA", True, None)


def test_market_data_streams_a_quote(gateway):
    async def quote(ib):
        (contract,) = await ib.qualifyContractsAsync(spy())
        ticker = ib.reqMktData(contract)
        await until(ib.updateEvent, lambda: ticker.bid > 0 and ticker.ask > 0)
        return ticker.bid, ticker.ask, ticker.marketDataType

    assert with_client(gateway, quote) == (99.99, 100.01, 1)


def test_order_filled_reports_states_and_commission(gateway):
    trade = with_client(gateway, lambda ib: place_and_wait(ib, order()))
    assert [entry.status for entry in trade.log if entry.status] == [
        "PendingSubmit",
        "PreSubmitted",
        "Submitted",
        "Submitted",
        "Filled",
    ]
    assert (trade.fills[0].execution.shares, trade.fills[0].commissionReport.commission) == (5, 1)
    assert gateway.records.shares(ACCOUNT, "SPY") == 15


def test_reconnect_returns_completed_orders_and_executions(gateway):
    with_client(gateway, lambda ib: place_and_wait(ib, order()))

    async def read(ib):
        return await ib.reqCompletedOrdersAsync(apiOnly=False), await ib.reqExecutionsAsync()

    completed, executions = with_client(gateway, read)
    (trade,) = completed
    assert (trade.order.orderRef, trade.order.orderId, trade.order.totalQuantity) == ("r-1", 0, 0)
    assert (trade.order.filledQuantity, trade.orderStatus.status) == (5, "Filled")
    assert [fill.execution.orderRef for fill in executions] == ["r-1"]


def test_cancel_of_open_order_is_confirmed(gateway):
    async def cancel(ib):
        trade = ib.placeOrder(spy(), order(limit=1.0))
        await until(ib.updateEvent, lambda: trade.orderStatus.status == "Submitted")
        ib.cancelOrder(trade.order)
        await until(ib.updateEvent, trade.isDone)
        return trade.orderStatus.status

    assert with_client(gateway, cancel) == "Cancelled"
    assert gateway.records.orders[0].status == "Cancelled"


def test_what_if_returns_margin_and_stores_no_order(gateway):
    state = with_client(gateway, lambda ib: ib.whatIfOrderAsync(spy(), order()))
    assert (state.initMarginChange, state.commission) == ("250.0", 1)
    assert gateway.records.orders == []


@pytest.mark.parametrize("kind", [Kind.REJECT, Kind.REJECT_STATUS_FIRST])
def test_rejection_sends_error_and_inactive_in_either_order(gateway, kind):
    gateway.fault(kind)

    async def place(ib):
        codes = codes_of(ib)
        trade = ib.placeOrder(spy(), order())
        await until(ib.updateEvent, lambda: 201 in codes and trade.orderStatus.status == "Inactive")

    with_client(gateway, place)
    assert gateway.records.orders == []


def test_connect_with_client_id_in_use_is_refused_with_326(gateway):
    async def second(ib):
        other = IB()
        codes = codes_of(other)
        with pytest.raises((ConnectionError, TimeoutError)):
            await other.connectAsync("127.0.0.1", gateway.port, clientId=1, timeout=0.3)
        return codes

    assert 326 in with_client(gateway, second)


def test_messages_above_rate_limit_report_100(gateway):
    async def flood(ib):
        codes = codes_of(ib)
        ib.client.MaxRequests = 0
        for _ in range(60):
            ib.client.reqCurrentTime()
        await until(ib.updateEvent, lambda: 100 in codes)

    with_client(gateway, flood)


def test_restart_closes_sockets_and_keeps_open_orders(gateway):
    async def restart(ib):
        gone = asyncio.Event()
        ib.disconnectedEvent += gone.set
        trade = ib.placeOrder(spy(), order(limit=1.0))
        await until(ib.updateEvent, lambda: trade.orderStatus.permId)
        await asyncio.to_thread(gateway.wait, gateway.gateway.restart())
        await asyncio.wait_for(gone.wait(), WAIT_SECONDS)

    with_client(gateway, restart)
    (still_open,) = with_client(gateway, lambda ib: ib.reqAllOpenOrdersAsync())
    assert still_open.order.orderRef == "r-1"
