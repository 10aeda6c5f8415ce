"""The gateway of the tests, as the plain client library sees it: it must not be kinder than a real one."""

import asyncio

import pytest
from ib_async import IB, LimitOrder, Stock

from tests.brokers.ibkr.conftest import ACCOUNT
from tests.support.ibkr_gateway import Kind

WAIT_SECONDS = 10


def talk(gateway, conversation, client_id=1):
    """Connects the plain client, has the conversation, disconnects."""

    async def whole():
        ib = IB()
        await ib.connectAsync("127.0.0.1", gateway.port, clientId=client_id, timeout=WAIT_SECONDS)
        try:
            return await conversation(ib)
        finally:
            ib.disconnect()

    return asyncio.run(asyncio.wait_for(whole(), WAIT_SECONDS * 3))


async def until(event, condition):
    while not condition():
        await asyncio.wait_for(event, WAIT_SECONDS)


def codes_of(ib):
    """The codes of the errors from now on, as they come."""
    codes = []
    ib.errorEvent += lambda *heard: codes.append(heard[1])
    return codes


def spy():
    return Stock("SPY", "SMART", "USD")


def order(action="BUY", shares=5, limit=200.0, ref="r-1"):
    return LimitOrder(action, shares, limit, tif="DAY", account=ACCOUNT, orderRef=ref)


async def place_and_wait(ib, asked):
    trade = ib.placeOrder(spy(), asked)
    await until(ib.updateEvent, lambda: trade.isDone() and (not trade.fills or trade.fills[-1].commissionReport.execId))
    return trade


def test_accounts_positions_and_values_are_downloaded(gateway):
    async def look(ib):
        return ib.managedAccounts(), ib.positions(), ib.portfolio(), ib.accountValues(ACCOUNT)

    accounts, positions, portfolio, values = talk(gateway, look)
    assert accounts == [ACCOUNT]
    assert [(one.contract.symbol, one.position) for one in positions] == [("SPY", 10)]
    assert [(one.contract.symbol, one.marketPrice) for one in portfolio] == [("SPY", 100)]
    assert [one.value for one in values if one.tag == "NetLiquidation"] == ["101000.00"]
    assert len(values) > 150, "as many rows as a real account has"


def test_a_contract_is_qualified_and_an_unknown_one_is_none(gateway):
    known, unknown = talk(gateway, lambda ib: ib.qualifyContractsAsync(spy(), Stock("NOSUCH", "SMART", "USD")))
    assert (known.primaryExchange, known.conId > 0, unknown) == ("ARCA", True, None)


def test_a_quote_streams(gateway):
    async def quote(ib):
        (contract,) = await ib.qualifyContractsAsync(spy())
        ticker = ib.reqMktData(contract)
        await until(ib.updateEvent, lambda: ticker.bid > 0 and ticker.ask > 0)
        return ticker.bid, ticker.ask, ticker.marketDataType

    assert talk(gateway, quote) == (99.99, 100.01, 1)


def test_an_order_goes_through_its_states_to_its_commission(gateway):
    trade = talk(gateway, lambda ib: place_and_wait(ib, order()))
    assert [entry.status for entry in trade.log if entry.status] == [
        "PendingSubmit",
        "PreSubmitted",
        "Submitted",
        "Submitted",
        "Filled",
    ]
    assert (trade.fills[0].execution.shares, trade.fills[0].commissionReport.commission) == (5, 1)
    assert gateway.book.shares(ACCOUNT, "SPY") == 15


def test_completed_orders_and_executions_are_told_after_a_reconnect(gateway):
    talk(gateway, lambda ib: place_and_wait(ib, order()))

    async def look(ib):
        return await ib.reqCompletedOrdersAsync(apiOnly=False), await ib.reqExecutionsAsync()

    completed, executions = talk(gateway, look)
    (trade,) = completed
    assert (trade.order.orderRef, trade.order.orderId, trade.order.totalQuantity) == ("r-1", 0, 0)
    assert (trade.order.filledQuantity, trade.orderStatus.status) == (5, "Filled")
    assert [fill.execution.orderRef for fill in executions] == ["r-1"]


def test_a_cancel_is_confirmed(gateway):
    async def cancel(ib):
        trade = ib.placeOrder(spy(), order(limit=1.0))
        await until(ib.updateEvent, lambda: trade.orderStatus.status == "Submitted")
        ib.cancelOrder(trade.order)
        await until(ib.updateEvent, trade.isDone)
        return trade.orderStatus.status

    assert talk(gateway, cancel) == "Cancelled"
    assert gateway.book.orders[0].status == "Cancelled"


def test_a_what_if_tells_the_margin_and_books_nothing(gateway):
    state = talk(gateway, lambda ib: ib.whatIfOrderAsync(spy(), order()))
    assert (state.initMarginChange, state.commission) == ("250.0", 1)
    assert gateway.book.orders == []


@pytest.mark.parametrize("kind", [Kind.REJECT, Kind.REJECT_STATUS_FIRST])
def test_a_rejection_comes_as_error_and_inactive_in_either_order(gateway, kind):
    gateway.fault(kind)

    async def place(ib):
        codes = codes_of(ib)
        trade = ib.placeOrder(spy(), order())
        await until(ib.updateEvent, lambda: 201 in codes and trade.orderStatus.status == "Inactive")

    talk(gateway, place)
    assert gateway.book.orders == []


def test_a_client_id_that_is_taken_is_refused_with_326(gateway):
    async def second(ib):
        other = IB()
        codes = codes_of(other)
        with pytest.raises((ConnectionError, TimeoutError)):
            await other.connectAsync("127.0.0.1", gateway.port, clientId=1, timeout=0.3)
        return codes

    assert 326 in talk(gateway, second)


def test_too_many_messages_a_second_are_an_error(gateway):
    async def flood(ib):
        codes = codes_of(ib)
        ib.client.MaxRequests = 0
        for _ in range(60):
            ib.client.reqCurrentTime()
        await until(ib.updateEvent, lambda: 100 in codes)

    talk(gateway, flood)


def test_a_restart_drops_the_sockets_and_keeps_the_books(gateway):
    async def restart(ib):
        gone = asyncio.Event()
        ib.disconnectedEvent += gone.set
        trade = ib.placeOrder(spy(), order(limit=1.0))
        await until(ib.updateEvent, lambda: trade.orderStatus.permId)
        await asyncio.to_thread(gateway.wait, gateway.gateway.restart())
        await asyncio.wait_for(gone.wait(), WAIT_SECONDS)

    talk(gateway, restart)
    (still_open,) = talk(gateway, lambda ib: ib.reqAllOpenOrdersAsync())
    assert still_open.order.orderRef == "r-1"
