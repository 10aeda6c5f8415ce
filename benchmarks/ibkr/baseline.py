"""A client that only sends fixed orders: no rows, no quotes, no plan, no checks."""

import asyncio
import time

from ib_async import IB, LimitOrder, StartupFetchNONE, Stock

from benchmarks.ibkr.accounts import HELD, SHARES, TARGETS, account_ids, bought_shares

WAIT_SECONDS = 60


def send(port, accounts, connections):
    """Sell everything, then buy the targets, all accounts at once. Return the start time."""
    began = time.time()
    asyncio.run(asyncio.wait_for(_send(port, account_ids(accounts), connections), WAIT_SECONDS))
    return began


async def _send(port, ids, connections):
    share = -(-len(ids) // connections)
    await asyncio.gather(
        *(_over_one(port, number, ids[number * share : (number + 1) * share]) for number in range(connections))
    )


async def _over_one(port, number, ids):
    ib = IB()
    await ib.connectAsync("127.0.0.1", port, clientId=number + 1, timeout=10, fetchFields=StartupFetchNONE)
    try:
        await asyncio.gather(*(_trade(ib, account_id) for account_id in ids))
    finally:
        ib.disconnect()
        await asyncio.sleep(0)


async def _trade(ib, account_id):
    await _phase(ib, account_id, "SELL", HELD, SHARES, 99.50)
    await _phase(ib, account_id, "BUY", TARGETS, bought_shares(), 100.50)


async def _phase(ib, account_id, side, symbols, shares, limit):
    trades = [
        ib.placeOrder(
            Stock(symbol, "SMART", "USD"),
            LimitOrder(side, shares, limit, tif="DAY", account=account_id, orderRef=f"baseline-{account_id}-{symbol}"),
        )
        for symbol in symbols
    ]
    while not all(trade.isDone() for trade in trades):
        await ib.updateEvent
