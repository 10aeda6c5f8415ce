"""Performance of accounts from the stored values, fills and recorded executions."""

from datetime import datetime, time, timedelta
from decimal import Decimal

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from tests.support.makers import carry_out, simulated_account
from trading.journal.account_status import store_history
from trading.models import AccountStanding, AccountValue, Fill, SeenExecution, TotalValue
from trading.models.orders import MANUAL_EXECUTION_PREFIX
from trading.pages.history import total_chart
from trading.planning.performance import _executions, performance_of, return_percent
from trading.planning.returns import Gap
from trading.planning.total_value import record_total

pytestmark = pytest.mark.django_db
DAYS = 32


@pytest.fixture(autouse=True)
def every_day_is_a_session(settings):
    settings.MARKET_CALENDAR = "always_open"


def evening(days_ago):
    day = timezone.localdate() - timedelta(days=days_ago)
    return datetime.combine(day, time(16, 30), timezone.get_current_timezone())


def history(account, value=100_000, cash=10_000, shares=None, days=DAYS):
    """One value on each of the last days, all the same."""
    rows = [
        AccountValue(
            account=account,
            at=evening(number),
            total_value_usd=value,
            cash_usd=cash,
            shares={"SPY": "100"} if shares is None else shares,
        )
        for number in range(days, 0, -1)
    ]
    AccountValue.objects.bulk_create(rows)


def today(account, value, cash, shares=None):
    AccountValue.objects.create(
        account=account, total_value_usd=value, cash_usd=cash, shares={"SPY": "100"} if shares is None else shares
    )


def test_deposit_is_no_return():
    account = simulated_account("A1", {"SPY": "1"})
    history(account)
    today(account, 151_500, 60_000)
    assert round(return_percent(account.pk), 3) == Decimal("1.000")
    period = performance_of([account.pk], 30)[account.pk].over(30)
    assert (period.money_in_usd, period.money_out_usd) == (50_000, 0)


def test_fills_and_recorded_executions_explain_cash_each_once(make_account):
    account = make_account("A1", cash="100000")
    run = carry_out(account)
    fills = Fill.objects.filter(order__run=run)
    AccountValue.objects.all().delete()
    history(account, 100_000, 100_000, {})
    bought = {fill.order.symbol: fill.quantity for fill in fills}
    spent = sum(fill.quantity * fill.price_usd + fill.commission_usd for fill in fills)
    for fill in fills:
        SeenExecution.objects.create(
            account=account,
            execution_id=fill.execution_id,
            symbol=fill.order.symbol,
            quantity=fill.quantity,
            price_usd=fill.price_usd,
            executed_at=fill.executed_at,
            session_date=timezone.localdate(),
        )
    today(account, 100_000, 100_000 - spent, {symbol: str(quantity) for symbol, quantity in bought.items()})
    assert return_percent(account.pk) == 0
    SeenExecution.objects.create(
        account=account,
        execution_id="manual",
        symbol="GLD",
        quantity=10,
        price_usd=200,
        executed_at=timezone.now(),
        session_date=timezone.localdate(),
    )
    held = {symbol: str(quantity) for symbol, quantity in bought.items()} | {"GLD": "10"}
    today(account, 101_000, 98_000 - spent, held)
    assert round(return_percent(account.pk), 3) == Decimal("1.000")


@pytest.mark.parametrize(
    ("break_history", "gap"),
    [
        (lambda rows: rows.filter(at=evening(12)).delete(), Gap.NO_VALUE),
        (lambda rows: rows.filter(at=evening(12)).update(shares={"SPY": "90"}), Gap.UNEXPLAINED),
        (lambda rows: rows.filter(at__lt=evening(12)).update(cash_usd=500, shares=None), Gap.UNEXPLAINED),
        (
            lambda rows: rows.filter(at__lt=evening(12)).update(cash_usd=0, total_value_usd=0, shares={}),
            Gap.NO_CAPITAL,
        ),
        (lambda rows: rows.filter(at__lt=evening(12)).delete(), Gap.TOO_SHORT),
        (lambda rows: rows.filter(at=evening(1)).delete(), Gap.NO_VALUE),
        (lambda rows: rows.all().delete(), Gap.TOO_SHORT),
    ],
)
def test_history_with_a_gap_has_no_return_and_says_why(break_history, gap):
    account = simulated_account("A1", {"SPY": "1"})
    history(account)
    assert return_percent(account.pk) == 0
    break_history(AccountValue.objects)
    assert return_percent(account.pk) is None
    assert performance_of([account.pk], 30)[account.pk].over(30).gap is gap


def test_day_counts_with_its_last_value():
    account = simulated_account("A1", {"SPY": "1"})
    history(account)
    at = evening(3) - timedelta(hours=3)
    AccountValue.objects.create(account=account, at=at, total_value_usd=1, cash_usd=10_000, shares={"SPY": "100"})
    assert return_percent(account.pk) == 0


def test_performance_of_many_accounts_takes_as_many_queries_as_of_one():
    accounts = [simulated_account(f"A{number}", {"SPY": "1"}) for number in range(3)]
    for account in accounts:
        history(account)
    with CaptureQueriesContext(connection) as of_one:
        performance_of([accounts[0].pk], 30)
    with CaptureQueriesContext(connection) as of_all:
        found = performance_of([account.pk for account in accounts], 30)
    assert len(of_one) == len(of_all) == 3
    assert [found[account.pk].over(30).percent for account in accounts] == [0, 0, 0]


# ---- all accounts


def standing(account, value, cash):
    AccountStanding.objects.update_or_create(
        account=account, defaults={"as_of": timezone.now(), "total_value_usd": value, "cash_usd": cash}
    )


def total():
    record_total()
    return TotalValue.objects.order_by("day").last()


def test_total_counts_new_and_disabled_accounts_and_deposits_as_money_in_or_out():
    stays, leaves, joins = (simulated_account(name, {"SPY": "1"}) for name in ("STAYS", "LEAVES", "JOINS"))
    assert total() is None
    for account in (stays, leaves):
        history(account)
        standing(account, 100_000, 10_000)
    assert (total().total_value_usd, total().cash_usd, total().flow_usd) == (200_000, 20_000, None)
    TotalValue.objects.update(day=timezone.localdate() - timedelta(days=1))
    assert total().flow_usd == 0
    standing(joins, 70_000, 70_000)
    assert (total().total_value_usd, total().accounts, total().flow_usd) == (270_000, 3, 70_000)
    leaves.enabled = False
    leaves.save()
    assert (total().total_value_usd, total().flow_usd) == (170_000, -30_000)
    today(stays, 105_500, 15_000)
    standing(stays, 105_500, 15_000)
    assert (total().total_value_usd, total().flow_usd) == (175_500, -25_000)
    today(stays, 105_500, 500, {"SPY": "130"})
    standing(stays, 105_500, 500)
    assert total().flow_usd is None


def test_stored_history_is_the_start_of_the_flows_of_totals():
    for account in (simulated_account(name, {"SPY": "1"}) for name in ("A1", "A2")):
        rows = [
            AccountValue(account=account, at=evening(days), total_value_usd=100, cash_usd=10, shares={"SPY": "1"})
            for days in (3, 2, 1)
        ]
        store_history(rows)
    assert total().flow_usd == 0
    assert total_chart().marks == ()


def test_manual_fill_and_its_execution_count_once(make_account):
    account = make_account("A1", cash="100000")
    run = carry_out(account)
    fill = Fill.objects.filter(order__run=run).select_related("order").first()
    Fill.objects.exclude(pk=fill.pk).delete()
    Fill.objects.filter(pk=fill.pk).update(
        execution_id=f"{MANUAL_EXECUTION_PREFIX}{fill.order.client_order_id}", commission_usd=4
    )
    SeenExecution.objects.all().delete()
    since = fill.executed_at - timedelta(days=1)
    (entered,) = _executions([account.pk], since)[account.pk]
    assert (entered.quantity, entered.cash_usd) == (fill.quantity, -fill.quantity * fill.price_usd - 4)
    for part, shares in (("e1", 1), ("e2", fill.quantity - 1)):
        SeenExecution.objects.create(
            account=account,
            execution_id=part,
            symbol=fill.order.symbol,
            quantity=shares,
            price_usd=fill.price_usd,
            executed_at=fill.executed_at,
            session_date=timezone.localdate(),
            client_order_id=fill.order.client_order_id,
        )
        found = _executions([account.pk], since)[account.pk]
        assert sum(one.quantity for one in found) == fill.quantity
    assert sum(one.cash_usd for one in found) == -fill.quantity * fill.price_usd
