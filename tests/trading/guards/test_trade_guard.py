"""The four trade guard regimes in real sessions, and runs that they defer."""

import asyncio
from datetime import date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
import time_machine
from asgiref.sync import sync_to_async

from accounts.models import Account
from brokers.broker_types import OrderType, TimeInForce
from brokers.exchange_calendar import ExchangeCalendar
from brokers.simulated import matching_engine
from brokers.simulated.client import SimulatedBroker
from brokers.simulated.faults import Kind, set_fault
from brokers.simulated.models import SimulatedExecution, SimulatedOrder
from tests.support.makers import carry_out, held, policy, simulated_account
from trading.common.formats import new_york_time
from trading.guards.trade_guard import check_trade_guard, settled_cash_usd
from trading.guards.trade_guard.history import Trade, day_trades
from trading.guards.trade_guard.rules import day_trade_rule, settlement_sessions
from trading.models import ExecutedSession, ScheduleEntry, SeenExecution
from trading.models.run_documents import ExecCommand

NEW_YORK = ZoneInfo("America/New_York")
XNYS = ExchangeCalendar("XNYS")
SENDS = pytest.mark.django_db(transaction=True)


def at(text):
    return datetime.fromisoformat(text).replace(tzinfo=NEW_YORK)


def trades(*lines):
    """Return trades from lines like `BUY SPY 2026-11-25 10:00`."""
    found = []
    for line in lines:
        side, symbol, *when = line.split()
        instant = at(" ".join(when))
        sign = 1 if side == "BUY" else -1
        found.append(Trade(symbol, Decimal(sign * 10), Decimal(100), instant, XNYS.session_of(instant).day))
    return found


@pytest.mark.parametrize(
    ("lines", "count"),
    [
        ((), 0),
        (("BUY SPY 2026-11-25 10:00",), 0),
        (("BUY SPY 2026-11-25 10:00", "SELL SPY 2026-11-25 11:00"), 1),
        (("SELL SPY 2026-11-25 10:00", "BUY SPY 2026-11-25 11:00"), 0),  # only a buy and then a sell
        (("BUY SPY 2026-11-25 10:00", "SELL IEF 2026-11-25 11:00"), 0),
        (("BUY SPY 2026-11-24 10:00", "SELL SPY 2026-11-25 11:00"), 0),
        (("BUY SPY 2026-11-25 10:00", "SELL SPY 2026-11-25 11:00", "SELL SPY 2026-11-25 12:00"), 1),
        (
            (
                "BUY SPY 2026-11-25 10:00",
                "SELL SPY 2026-11-25 11:00",
                "BUY SPY 2026-11-25 12:00",
                "SELL SPY 2026-11-25 13:00",
            ),
            2,
        ),
        (("BUY SPY 2026-11-25 10:00", "SELL SPY 2026-11-25 17:00"), 0),  # after the close: the next session's
        (("BUY SPY 2026-11-25 17:00", "SELL SPY 2026-11-27 09:31"), 1),  # both are Friday's
    ],
)
def test_day_trades_counts_buys_followed_by_sells_in_one_session(lines, count):
    assert sum(day_trades(trades(*lines)).values()) == count


def test_rules_apply_within_their_dates():
    assert day_trade_rule(date(2027, 10, 20)) is not None
    assert day_trade_rule(date(2027, 10, 21)) is None
    assert (settlement_sessions(date(2024, 5, 24)), settlement_sessions(date(2024, 5, 28))) == (2, 1)


@pytest.fixture
def account(db):
    return simulated_account("U1", {"SPY": "1"}, policy=policy())


def seen(account, *lines):
    for number, trade in enumerate(trades(*lines), start=SeenExecution.objects.count()):
        SeenExecution.objects.create(
            account=account,
            execution_id=f"e{number}",
            symbol=trade.symbol,
            quantity=trade.quantity,
            price_usd=trade.price_usd,
            executed_at=trade.executed_at,
            session_date=trade.session_date,
        )


def day_trade(symbol, day):
    return f"BUY {symbol} {day} 10:00", f"SELL {symbol} {day} 11:00"


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("now", "days", "sells", "until", "used"),
    [
        # five sessions back from Wednesday 2026-11-25 is Thursday the 19th; from Friday the 27th it is the 20th
        ("2026-11-25 12:00", ["2026-11-19", "2026-11-20", "2026-11-23"], (), None, 3),
        ("2026-11-25 12:00", ["2026-11-18", "2026-11-18", "2026-11-18", "2026-11-18"], (), None, 0),
        ("2026-11-25 12:00", ["2026-11-19", "2026-11-20", "2026-11-23"], ("TLT",), "2026-11-27 09:30", 3),
        ("2026-11-25 12:00", ["2026-11-20", "2026-11-23"], ("TLT",), None, 2),
        ("2026-11-25 12:00", ["2026-11-19", "2026-11-20", "2026-11-23"], ("IEF",), None, 3),
        ("2026-11-27 09:45", ["2026-11-19", "2026-11-20", "2026-11-23"], (), None, 2),
        ("2026-11-27 09:45", ["2026-11-20"] * 4, (), "2026-11-30 09:30", 4),
        ("2026-11-27 09:45", ["2026-11-24"] * 4, (), "2026-12-02 09:30", 4),
        ("2027-10-21 12:00", ["2027-10-20"] * 4, (), None, None),
    ],
)
def test_pdt_with_four_day_trades_in_five_sessions_blocks(account, now, days, sells, until, used):
    for number, day in enumerate(days):
        seen(account, *day_trade(f"S{number}", day))
    seen(account, "BUY TLT 2026-11-25 10:30")
    check = check_trade_guard(account.pk, "pdt_legacy", at(now), XNYS, sells=sells)
    assert (check.allowed, check.next_allowed_at) == (until is None, until and at(until))
    assert check.day_trades_used == used
    if until:
        assert new_york_time(at(until)) in check.message


@pytest.mark.django_db
def test_pdt_across_a_clock_change_resumes_at_new_york_time(account):
    for number in range(4):
        seen(account, *day_trade(f"S{number}", "2026-10-26"))
    check = check_trade_guard(account.pk, "pdt_legacy", at("2026-10-30 12:00"), XNYS)
    assert check.next_allowed_at == at("2026-11-02 09:30")
    assert check.next_allowed_at.utcoffset() != at("2026-10-30 12:00").utcoffset() or (
        check.next_allowed_at.hour == 14
    ), "the clocks go back on Sunday"


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("lines", "now", "sells", "allowed"),
    [
        ((), "2026-11-25 12:00", ("SPY",), True),
        (("BUY SPY 2026-11-25 10:00",), "2026-11-25 12:00", ("SPY",), True),  # bought with settled cash
        (("SELL IEF 2026-11-25 09:45", "BUY SPY 2026-11-25 10:00"), "2026-11-25 12:00", ("SPY",), False),
        (("SELL IEF 2026-11-25 09:45", "BUY SPY 2026-11-25 10:00"), "2026-11-25 12:00", ("TLT",), True),
        (("SELL IEF 2026-11-25 09:45", "BUY SPY 2026-11-25 10:00"), "2026-11-27 09:31", ("SPY",), True),  # T+1
        (("SELL IEF 2026-11-25 17:00", "BUY SPY 2026-11-27 10:00"), "2026-11-27 12:00", ("SPY",), False),
    ],
)
def test_cash_settlement_blocks_sells_of_symbols_bought_with_unsettled_cash(account, lines, now, sells, allowed):
    seen(account, *lines)
    check = check_trade_guard(account.pk, "cash_settlement", at(now), XNYS, sells=sells)
    assert check.allowed == allowed
    if not allowed:
        assert "settled" in check.message and check.next_allowed_at > at(now)


@pytest.mark.django_db
def test_settled_cash_excludes_sales_of_this_session(account):
    seen(account, "SELL IEF 2026-11-24 10:00", "SELL SPY 2026-11-25 10:00", "BUY TLT 2026-11-25 11:00")
    now = at("2026-11-25 12:00")
    assert settled_cash_usd(account.pk, Decimal(5000), now, XNYS) == Decimal(4000)
    assert settled_cash_usd(account.pk, Decimal(500), now, XNYS) == 0
    assert settled_cash_usd(account.pk, Decimal(5000), at("2026-11-25 16:30"), XNYS) == Decimal(5000), "Friday's money"


@pytest.mark.django_db
def test_unknown_regime_applies_all_regimes(account):
    seen(account, "SELL IEF 2026-11-25 09:45", "BUY SPY 2026-11-25 10:00")
    assert not check_trade_guard(account.pk, "new", at("2026-11-25 12:00"), XNYS, sells=("SPY",)).allowed
    for number in range(4):
        seen(account, *day_trade(f"S{number}", "2026-11-25"))
    assert not check_trade_guard(account.pk, "new", at("2026-11-25 12:00"), XNYS).allowed


# ---- runs


def trade_manually(account_id, symbol, shares):
    """Fill an order at once that the rebalancer did not send."""
    matching_engine.take_order(
        account_id, symbol, Decimal(shares), OrderType.MARKET, None, f"manual-{symbol}-{shares}", TimeInForce.DAY
    )
    with matching_engine.locked_account(account_id):
        pass  # lets it fill


@pytest.fixture
def real_day(settings):
    """Wednesday 2026-11-25 at eleven in New York."""
    settings.MARKET_CALENDAR = "XNYS"
    with time_machine.travel(at("2026-11-25 11:00"), tick=True):
        yield


@SENDS
def test_pdt_counts_manual_day_trades_and_defers_the_fourth(make_account, real_day):
    account = make_account(cash="500000", trade_guard="pdt_legacy", positions={"VTI": "100"})
    for symbol in ("TLT", "GLD", "QQQ"):
        trade_manually("U1", symbol, 5)
        trade_manually("U1", symbol, -5)
    trade_manually("U1", "VTI", 1)  # what the plan will sell was bought today
    preview = carry_out(account, ExecCommand.PRINT_REBALANCE)
    assert [guard["code"] for guard in preview.guards if not guard["passed"]] == ["trade_guard_plan"]
    run = carry_out(account)
    assert (run.state, run.error_code) == ("deferred", "trade_guard_plan"), run.error_message
    assert "VTI" in run.error_message and "PDT protection" in run.error_message
    assert not SimulatedOrder.objects.filter(client_order_id__startswith="rb-").exists()
    entry = ScheduleEntry.objects.get()
    assert (entry.due_at, entry.run) == (at("2026-11-27 09:30"), run)
    assert SeenExecution.objects.count() == SimulatedExecution.objects.count() == 7


@SENDS
def test_pdt_with_manual_buy_after_executions_were_read_defers_the_sell(make_account, real_day, monkeypatch):
    account = make_account(cash="500000", trade_guard="pdt_legacy", positions={"VTI": "100"})
    for symbol in ("TLT", "GLD", "QQQ"):
        trade_manually("U1", symbol, 5)
        trade_manually("U1", symbol, -5)
    executions, snapshot = SimulatedBroker.get_executions, SimulatedBroker.get_account_snapshot
    were_read = asyncio.Event()

    async def slow_executions(self, *args, **options):
        found = await executions(self, *args, **options)
        if were_read.is_set():
            await asyncio.sleep(0.2)  # code that does not wait continues without them
        were_read.set()
        return found

    async def after_a_manual_trade(self, *args, **options):
        await were_read.wait()
        if not await SimulatedOrder.objects.filter(symbol="VTI").aexists():
            await sync_to_async(trade_manually)("U1", "VTI", 1)
        return await snapshot(self, *args, **options)

    monkeypatch.setattr(SimulatedBroker, "get_executions", slow_executions)
    monkeypatch.setattr(SimulatedBroker, "get_account_snapshot", after_a_manual_trade)
    run = carry_out(account)
    assert (run.state, run.error_code) == ("deferred", "trade_guard_plan"), run.error_message
    assert not SimulatedOrder.objects.filter(client_order_id__startswith="rb-").exists()


@SENDS
def test_pdt_allows_a_second_rebalance_within_the_limit(make_account, real_day):
    account = make_account(trade_guard="pdt_legacy", positions={"VTI": "100"})
    assert carry_out(account).state == "completed"
    account.strategy.targets.filter(symbol="IEF").update(weight="0.2")
    account.strategy.targets.filter(symbol="SPY").update(weight="0.6")
    second = carry_out(account)
    # IEF was bought today, and selling it makes one day trade of three.
    assert second.state == "completed", second.error_message
    assert sum(1 for order in second.orders.all() if order.quantity < 0) == 1


@SENDS
def test_cash_settlement_buys_with_settled_cash_and_the_rest_in_the_next_session(make_account, settings):
    settings.MARKET_CALENDAR = "XNYS"
    with time_machine.travel(at("2026-11-25 11:00"), tick=True):
        account = make_account(cash="1000", trade_guard="cash_settlement", positions={"VTI": "100"})
        first = carry_out(account)
        assert first.state == "completed", first.error_message
        bought = sum(
            order.filled_quantity * order.average_price_usd for order in first.orders.all() if order.quantity > 0
        )
        assert bought <= 1000, "the sale of VTI settles on Friday"
        assert any(entry.code == "buys_reduced" for entry in first.timeline.all())
    with time_machine.travel(at("2026-11-27 09:31"), tick=True):
        second = carry_out(account)
        assert second.state == "completed", second.error_message
        assert set(held("U1")) == {"SPY", "IEF"}
        assert matching_engine.SimulatedAccount.objects.get().cash_usd < Decimal(2000)


@SENDS
def test_trade_guard_with_unreadable_executions_fails_the_run(make_account):
    account = make_account(trade_guard="pdt_legacy", positions={"VTI": "100"})
    set_fault(Kind.UNREADABLE)
    run = carry_out(account)
    assert (run.state, run.error_code) == ("failed", "broker_api")
    assert not SimulatedOrder.objects.exists()


@SENDS
@pytest.mark.parametrize(
    ("sent", "session", "until"),
    [
        ("2026-11-25 15:50", "2026-11-25", "2026-11-27 09:30"),
        ("2026-11-27 12:50", "2026-11-27", "2026-11-30 09:30"),  # ten minutes before an early close
        ("2026-03-06 11:00", "2026-03-06", "2026-03-09 09:30"),  # the clocks go forward in between
    ],
)
def test_run_is_recorded_in_the_session_of_its_first_order(make_account, settings, sent, session, until):
    settings.MARKET_CALENDAR = "XNYS"
    with time_machine.travel(at(sent), tick=True):
        account = make_account(trade_guard="once_per_session")
        assert carry_out(account).state == "completed"
        assert ExecutedSession.objects.get().session_date == date.fromisoformat(session)
        again = carry_out(account)
    assert (again.state, again.not_before) == ("deferred", at(until))
    assert timedelta(0) < again.not_before - at(sent) < timedelta(days=4)


def test_account_regimes_are_all_implemented():
    assert set(Account.TradeGuard.values) == {"none", "once_per_session", "pdt_legacy", "cash_settlement"}
