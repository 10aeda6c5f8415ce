"""The history of values: at each look of a run, and once after each close."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.utils import timezone

from brokers.exchange_calendar import ExchangeCalendar
from brokers.simulated.models import SimulatedFault
from tests.support.makers import carry_out
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
def test_the_latest_close_comes_from_the_calendar(now, closed):
    instant = datetime.fromisoformat(now).replace(tzinfo=UTC)
    assert last_close(ExchangeCalendar("XNYS"), instant) == datetime.fromisoformat(closed).replace(tzinfo=UTC)


def test_a_run_keeps_the_value_and_says_where_the_account_stands(make_account):
    account = make_account(cash="20000", positions={"SPY": "10"})
    preview = carry_out(account, ExecCommand.PRINT_REBALANCE)
    standing = AccountStanding.objects.get(account=account)
    assert (standing.total_value_usd, standing.cash_usd) == (preview.total_value_usd, preview.cash_usd)
    assert standing.is_outside
    assert standing.planned_run == preview
    assert [symbol for symbol, _ in standing.weights][-1] == "CASH"
    assert sum(Decimal(weight) for _, weight in standing.weights) == pytest.approx(Decimal(1), abs=Decimal("0.0001"))
    carry_out(account)
    standing.refresh_from_db()
    assert not standing.is_outside
    assert standing.largest_drift_percent < 5


def test_an_order_that_did_not_fill_leaves_the_account_outside(make_account):
    account = make_account(cash="20000")
    SimulatedFault.objects.create(kind="reject", symbol="IEF", message="not today")
    carry_out(account)
    assert AccountStanding.objects.get(account=account).is_outside


def test_accounts_that_nobody_has_looked_at_since_the_close_are_valued_once(make_account):
    first, second = make_account("V1", cash="1000"), make_account("V2", cash="2000")
    assert record_values() == 1
    assert value_accounts(first.connection_id) == 2
    assert value_accounts(first.connection_id) == 0
    assert record_values() == 0
    assert {value.account: value.total_value_usd for value in AccountValue.objects.all()} == {first: 1000, second: 2000}
    total = TotalValue.objects.get()
    assert (total.day, total.total_value_usd, total.accounts) == (timezone.localdate(), 3000, 2)
    AccountStanding.objects.filter(account=first).update(seen_at=timezone.now() - timedelta(days=2))
    assert record_values() == 1
    assert value_accounts(first.connection_id) == 1


def test_one_account_without_an_answer_does_not_hold_up_the_others(make_account):
    first, second = make_account("V1"), make_account("V2")
    SimulatedFault.objects.create(kind="incomplete", account_id="V1")
    assert value_accounts(first.connection_id) == 1
    assert AccountValue.objects.get().account == second


def test_a_slot_at_work_and_a_broker_that_is_away_are_left_for_later(make_account):
    account = make_account()
    SimulatedFault.objects.create(kind="connect_refused")
    assert value_accounts(account.connection_id) == 0
    claim_lease(account.connection_id, "somebody else")
    assert value_accounts(account.connection_id) == 0
    assert not AccountValue.objects.exists()
