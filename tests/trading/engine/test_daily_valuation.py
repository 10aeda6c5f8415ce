"""The history of account values: one entry at each run, and one after each close."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.utils import timezone

from brokers.exchange_calendar import ExchangeCalendar
from brokers.simulated.models import SimulatedFault
from tests.support.makers import carry_out, policy
from trading.engine.daily_valuation import last_close
from trading.journal.leases import claim_lease
from trading.models import AccountStanding, AccountValue, TotalValue
from trading.models.run_documents import ExecCommand
from trading.tasks import record_values, value_accounts

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize(
    ("now", "closed"),
    [
        ("2026-11-25T20:00", "2026-11-24T21:00"),  # Wednesday, before the close
        ("2026-11-25T21:00", "2026-11-25T21:00"),  # the close itself
        ("2026-11-26T18:00", "2026-11-25T21:00"),  # Thanksgiving
        ("2026-11-29T18:00", "2026-11-27T18:00"),  # Sunday after an early close
    ],
)
def test_last_close_comes_from_the_calendar(now, closed):
    instant = datetime.fromisoformat(now).replace(tzinfo=UTC)
    assert last_close(ExchangeCalendar("XNYS"), instant) == datetime.fromisoformat(closed).replace(tzinfo=UTC)


def test_run_stores_the_account_value_and_its_distance_from_the_targets(make_account):
    account = make_account(cash="200000", positions={"SPY": "10"})
    preview = carry_out(account, ExecCommand.PRINT_REBALANCE)
    standing = AccountStanding.objects.get(account=account)
    assert (standing.total_value_usd, standing.cash_usd) == (preview.total_value_usd, preview.cash_usd)
    assert standing.is_outside
    assert standing.planned_run == preview
    assert [symbol for symbol, _ in standing.weights][-1] == "$CASH"
    assert sum(Decimal(weight) for _, weight in standing.weights) == pytest.approx(Decimal(1), abs=Decimal("0.0001"))
    carry_out(account)
    standing.refresh_from_db()
    assert (standing.state, standing.reason_code) == ("inside", "drift_inside_band")
    assert standing.largest_drift_pp < 1


def test_run_with_a_rejected_order_leaves_the_account_outside_its_band(make_account):
    account = make_account(cash="20000")
    SimulatedFault.objects.create(kind="reject", symbol="IEF", message="not today")
    carry_out(account)
    assert AccountStanding.objects.get(account=account).is_outside


def test_valuation_after_the_close_reads_each_due_account_once(make_account):
    first, second = make_account("V1", cash="1000"), make_account("V2", cash="2000")
    assert record_values() == 1
    assert value_accounts(first.connection_id) == 2
    assert value_accounts(first.connection_id) == 0
    assert record_values() == 0
    assert {value.account: value.total_value_usd for value in AccountValue.objects.all()} == {first: 1000, second: 2000}
    total = TotalValue.objects.get()
    assert (total.day, total.total_value_usd, total.accounts) == (timezone.localdate(), 3000, 2)
    AccountStanding.objects.filter(account=first).update(as_of=timezone.now() - timedelta(days=2))
    assert record_values() == 1
    assert value_accounts(first.connection_id) == 1


def test_valuation_of_a_failing_account_does_not_block_the_others(make_account):
    first, second = make_account("V1"), make_account("V2")
    SimulatedFault.objects.create(kind="incomplete", account_id="V1")
    assert value_accounts(first.connection_id) == 1
    assert AccountValue.objects.get().account == second


def test_valuation_of_a_busy_slot_or_unreachable_broker_stores_nothing(make_account):
    account = make_account()
    SimulatedFault.objects.create(kind="connect_refused")
    assert value_accounts(account.connection_id) == 0
    claim_lease(account.connection_id, "another worker")
    assert value_accounts(account.connection_id) == 0
    assert not AccountValue.objects.exists()


def test_run_that_is_refused_stores_how_the_account_stands(make_account):
    account = make_account(cash="20000", policy=policy("strict", max_turnover_percent=Decimal(1)))
    run = carry_out(account)
    assert (run.state, run.error_code) == ("refused", "turnover_limit")
    standing = AccountStanding.objects.get(account=account)
    assert (standing.state, standing.cash_usd, standing.planned_run) == ("outside", 20_000, None)
