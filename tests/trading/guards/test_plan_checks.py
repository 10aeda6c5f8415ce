"""The checks of a plan receive the quotes as the broker reported them."""

import pytest

from brokers.simulated.faults import Kind, set_fault
from tests.support.makers import carry_out, policy
from trading.guards.plan import PlanChecks
from trading.models.run_documents import ExecCommand

pytestmark = pytest.mark.django_db(transaction=True)


def test_plan_checks_receive_trading_status_of_each_symbol(make_account, monkeypatch):
    proposals = []
    check = PlanChecks.check

    async def record(checks, proposal):
        proposals.append(proposal)
        return await check(checks, proposal)

    monkeypatch.setattr(PlanChecks, "check", record)
    set_fault(Kind.HALTED, symbol="IEF")
    run = carry_out(make_account("P1", policy=policy(max_frozen_percent=100)), ExecCommand.PRINT_REBALANCE)
    assert run.state == "completed", run.error_message
    (proposal,) = proposals
    assert {symbol: price.is_halted for symbol, price in proposal.prices.items()} == {"IEF": True, "SPY": False}
