"""The cash for the buys: the smaller of what the fills imply and what the broker has, without waiting for nothing."""

import asyncio
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from brokers.broker_types import AccountSnapshot
from brokers.exceptions import IncompleteAccountData
from brokers.simulated.models import SimulatedAccount
from tests.support.makers import QUICK_TIMINGS, carry_out, cash
from trading.engine import cash_after_sells as module
from trading.engine.cash_after_sells import cash_after_sells
from trading.engine.rebalance import Rebalancer

BEFORE, PROCEEDS = 1_000, 30_000


class Broker:
    """Reports one amount of cash after the other; the last one for ever. None: the account cannot be read."""

    def __init__(self, *reported: int | None) -> None:
        self._reported = list(reported)
        self.reads = 0

    async def get_account_snapshot(self, account_id: str) -> AccountSnapshot:
        self.reads += 1
        amount = self._reported.pop(0) if len(self._reported) > 1 else self._reported[0]
        if amount is None:
            raise IncompleteAccountData("A value is missing.")
        return snapshot(amount)


class Sell:
    proceeds_usd = Decimal(PROCEEDS)


def snapshot(amount: int) -> AccountSnapshot:
    return AccountSnapshot(
        account_id="U1",
        total_value_usd=Decimal(100_000),
        cash_usd=Decimal(amount),
        positions=(),
        as_of=datetime(2026, 11, 24, 15, tzinfo=UTC),
    )


@pytest.mark.parametrize(
    ("reported", "available", "reads"),
    [
        ([31_000], 31_000, 1),  # the broker agrees
        ([1_000, 1_000, 31_000], 31_000, 3),  # it lags, and then agrees
        ([1_000, 12_000, 31_000], 31_000, 3),  # it reports one fill after the other
        ([1_000], 31_000, None),  # it reports no fill at all: the fills are believed
        ([16_000], 16_000, None),  # $15,000 were withdrawn
        ([1_000, 16_000], 16_000, None),  # the same, after a lag
        ([-14_000, 16_000], 16_000, None),  # the withdrawal is reported before the fills
        ([46_000], 31_000, 1),  # a deposit is left to the next plan
        ([30_999], 30_999, 1),  # a fee is not waited for
    ],
)
def test_cash_after_sells_is_the_smaller_value_and_a_lag_does_not_reduce_it(monkeypatch, reported, available, reads):
    monkeypatch.setattr(module, "POLL_SECONDS", 0.001)
    broker = Broker(*reported)
    _, found = asyncio.run(cash_after_sells(broker, "U1", snapshot(BEFORE), [Sell()], 0.05))
    assert found == available
    assert reads is None or broker.reads == reads


def test_cash_that_cannot_be_read_for_a_moment_is_read_again(monkeypatch):
    monkeypatch.setattr(module, "POLL_SECONDS", 0.001)
    _, found = asyncio.run(cash_after_sells(Broker(None, None, 31_000), "U1", snapshot(BEFORE), [Sell()], 10))
    assert found == BEFORE + PROCEEDS
    with pytest.raises(IncompleteAccountData):
        asyncio.run(cash_after_sells(Broker(None), "U1", snapshot(BEFORE), [Sell()], 0.01))


def test_cash_without_sells_is_read_once():
    broker = Broker(400)
    _, found = asyncio.run(cash_after_sells(broker, "U1", snapshot(BEFORE), [], 10))
    assert (found, broker.reads) == (400, 1)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("positions", [{"VTI": "250"}, {}])
def test_withdrawal_during_a_run_leaves_the_reserve_untouched(make_account, monkeypatch, positions):
    """$15,000 leave the account after the plan: between the sells and the buys, or before buys without sells."""
    account = make_account(positions=positions, cash="40000", cash_reserve_percent=Decimal(10))
    original = Rebalancer._buy

    async def withdraw(self, proposal, sells):
        simulated = await SimulatedAccount.objects.aget(account_id="U1")
        await SimulatedAccount.objects.aupdate(cash_usd=simulated.cash_usd - 15_000)
        return await original(self, proposal, sells)

    monkeypatch.setattr(Rebalancer, "_buy", withdraw)
    run = carry_out(account, timings=QUICK_TIMINGS)
    assert run.state == "completed", run.error_message
    assert cash("U1") >= Decimal(run.snapshot["total_value_usd"]) * Decimal("0.1")
    assert run.timeline.filter(code="buys_reduced").exists()
