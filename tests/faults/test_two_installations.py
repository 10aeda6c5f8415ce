"""Two installations, each with its own database, on one gateway with the same accounts: nothing is sold twice."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.ibkr_gateway import AccountRecords, GatewayThread

ACCOUNTS = ["DU1000001", "DU1000002", "DU1000003"]
OTHERS = ["DU9000001", "DU9000002", "DU9000003", "DU9000004"]

SETUP = """
from accounts.models import Account, BrokerConnection
from tests.support.ibkr_accounts import gateway_account
for name in {names!r}:
    gateway_account(name, dict(SPY="0.5", IEF="0.5"))
answer = dict(Account.objects.values_list("account_id", "connection__client_id"))
"""
EVENT = """
from accounts.models import Account
from tests.support.makers import queue
from trading.common.timings import Timings
from trading.engine.slot_worker import work_slot
from trading.models import RebalanceRun, RunState
accounts = Account.objects.filter(account_id__in={names!r}).order_by({order!r})
for account in accounts:
    if {new}:
        queue(account)
for slot in dict.fromkeys(account.connection_id for account in accounts):
    work_slot(slot, Timings(reconnect_delay_seconds=0.05, positions_seconds=2.0))
runs = RebalanceRun.objects.filter(account__in=accounts).select_related("account")
answer = {{run.account.account_id: [run.state, run.error_code] for run in runs}}
"""


@pytest.fixture
def book():
    book = AccountRecords()
    for symbol in ("SPY", "IEF", "VTI"):
        book.add_instrument(symbol)
    for account_id in ACCOUNTS:
        book.add_account(account_id, cash="1000", positions={"VTI": "400"})
    return book


def test_two_installations_with_differently_numbered_slots_sell_nothing_twice(book, new_installation):
    with GatewayThread(book, fill_seconds=0.2) as gateway:
        first, second = (new_installation(IB_HOST="127.0.0.1", IB_PORT=str(gateway.port)) for _ in range(2))
        ids = [
            first.evaluate(SETUP.format(names=ACCOUNTS)),
            second.evaluate(SETUP.format(names=[*OTHERS, *reversed(ACCOUNTS)])),
        ]
        requests = [(first, "account_id"), (second, "-account_id")]

        def rebalance(new):
            """Let both installations execute an event at the same time, and return their runs."""
            with ThreadPoolExecutor(2) as threads:
                codes = [(site, EVENT.format(names=ACCOUNTS, order=order, new=new)) for site, order in requests]
                return list(threads.map(lambda one: one[0].evaluate(one[1]), codes))

        runs = rebalance(new=True)
        while any(state in {"queued", "running"} for run in runs for state, _ in run.values()):
            runs = rebalance(new=False)
    assert book.went_short == []
    assert {book.shares(account_id, "VTI") for account_id in ACCOUNTS} == {0}
    for account_id in ACCOUNTS:
        assert ids[0][account_id] == ids[1][account_id], "the client id follows from the account number"
        assert len({order.ref.split("-")[-1] for order in book.orders if order.account_id == account_id}) == 1
        outcomes = sorted(tuple(run[account_id]) for run in runs)
        assert outcomes == [("completed", ""), ("refused", "unrecorded_orders")]
