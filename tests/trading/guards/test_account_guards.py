"""Real sessions, and what must hold before the first sell."""

from datetime import UTC, date, datetime, time
from zoneinfo import ZoneInfo

import pytest
from django.urls import reverse
from django.utils.html import escape

from accounts.models import Account
from accounts.policies import resolve_policy
from brokers.exchange_calendar import ExchangeCalendar
from brokers.simulated.models import SimulatedOrder
from tests.support.makers import carry_out, policy, queue, simulated_account
from trading.error_codes import all_codes
from trading.errors import Deferred, Refused
from trading.guards.account import check_guards, enforce
from trading.guards.trade_guard import check_trade_guard
from trading.market_calendar import AlwaysOpenCalendar
from trading.models import EventSource, ExecutedSession, TradingControl
from trading.models.run_documents import ExecCommand

NEW_YORK = ZoneInfo("America/New_York")
XNYS = ExchangeCalendar("XNYS")


def at(text):
    return datetime.fromisoformat(text).replace(tzinfo=NEW_YORK)


@pytest.mark.parametrize(
    ("instant", "day", "opens", "closes"),
    [
        ("2026-11-25 10:00", "2026-11-25", "09:30", "16:00"),
        ("2026-11-25 16:00", "2026-11-27", "09:30", "13:00"),  # after the close; Thursday is Thanksgiving
        ("2026-11-26 12:00", "2026-11-27", "09:30", "13:00"),
        ("2026-11-27 12:59", "2026-11-27", "09:30", "13:00"),  # an early close
        ("2026-11-27 13:00", "2026-11-30", "09:30", "16:00"),
        ("2026-11-28 09:30", "2026-11-30", "09:30", "16:00"),  # Saturday
        ("2026-03-09 08:00", "2026-03-09", "09:30", "16:00"),  # the first session after the clocks went forward
        ("2026-11-02 08:00", "2026-11-02", "09:30", "16:00"),  # and after they went back
        ("2026-12-31 17:00", "2027-01-04", "09:30", "16:00"),
    ],
)
def test_the_session_in_which_an_order_executes(instant, day, opens, closes):
    session = XNYS.session_of(at(instant))
    assert session.day == date.fromisoformat(day)
    assert f"{session.opens_at.astimezone(NEW_YORK):%H:%M}" == opens
    assert f"{session.closes_at.astimezone(NEW_YORK):%H:%M}" == closes


def test_a_calendar_that_never_closes_has_a_session_a_day():
    calendar = AlwaysOpenCalendar()
    session = calendar.session_of(at("2026-11-28 23:59"))
    assert session.day == date(2026, 11, 28)
    assert session.is_open_at(at("2026-11-28 03:00"))
    assert calendar.session_after(session.day).opens_at == session.closes_at


# ---- trade guard


@pytest.fixture
def account(db):
    return simulated_account("U1", {"SPY": "1"}, policy=policy())


def executed(account, day):
    run = queue(account)
    ExecutedSession.objects.create(
        account=account, session_date=date.fromisoformat(day), run=run, first_order_at=datetime.now(UTC)
    )
    return run


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("regime", "done", "now", "until"),
    [
        ("once_per_session", "2026-11-25", "2026-11-25 15:00", "2026-11-27 09:30"),
        ("something_new", "2026-11-25", "2026-11-25 15:00", "2026-11-27 09:30"),
        ("once_per_session", "2026-11-27", "2026-11-25 17:00", "2026-11-30 09:30"),  # after the close: the next session
        ("once_per_session", "2026-11-25", "2026-11-25 17:00", None),
        ("once_per_session", "2026-11-24", "2026-11-25 10:00", None),
        ("none", "2026-11-25", "2026-11-25 15:00", None),
    ],
)
def test_the_trade_guard_blocks_until_the_next_session_opens(account, regime, done, now, until):
    executed(account, done)
    check = check_trade_guard(account.pk, regime, at(now), XNYS)
    assert check.allowed == (until is None)
    if until:
        assert check.next_allowed_at == at(until)
        assert f"{at(until):%a %Y-%m-%d %H:%M} New York time" in check.message


@pytest.mark.django_db
@pytest.mark.parametrize(("resume", "until"), [(time(9, 0), "09:30"), (time(9, 30), "09:30"), (time(10, 15), "10:15")])
def test_a_blocked_account_is_taken_up_at_its_policys_time_but_never_before_the_open(account, resume, until):
    executed(account, "2026-11-25")
    check = check_trade_guard(account.pk, "once_per_session", at("2026-11-25 15:00"), XNYS, resume=resume)
    assert check.next_allowed_at == at(f"2026-11-27 {until}")


@pytest.mark.django_db
def test_a_run_that_is_taken_up_again_does_not_block_itself(account):
    run = executed(account, "2026-11-25")
    assert check_trade_guard(account.pk, "once_per_session", at("2026-11-25 15:00"), XNYS, exclude_run=run.pk).allowed


# ---- guards


def blocked(account, now="2026-11-25 10:00", calendar=XNYS):
    run = queue(account)
    results = check_guards(account.pk, run.pk, resolve_policy(account), at(now), calendar)
    return {result.code: result for result in results if not result.passed}


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"enabled": False}, "account_disabled"),
        ({"strategy": None}, "no_strategy"),
        ({"trading_paused": True}, "trading_paused"),
        ({"type": "live"}, "wrong_environment"),
    ],
)
def test_a_guard_says_why(account, change, code):
    run = queue(account)
    for field, value in change.items():
        setattr(account, field, value)
    account.save()
    guards = check_guards(account.pk, run.pk, resolve_policy(account), at("2026-11-25 10:00"), XNYS)
    results = {result.code: result for result in guards}
    assert not results[code].passed
    assert results[code].message.endswith((".", "admin."))


@pytest.mark.django_db
def test_an_account_that_is_well_passes_every_guard(account):
    assert blocked(account) == {}


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("allow", "armed", "codes"),
    [
        (False, False, {"live_not_allowed", "live_not_armed"}),
        (True, False, {"live_not_armed"}),
        (False, True, {"live_not_allowed"}),
        (True, True, set()),
    ],
)
def test_live_needs_both_keys(account, settings, allow, armed, codes):
    settings.TRADING_MODE, settings.ALLOW_LIVE_TRADING = "live", allow
    account.type, account.live_armed = "live", armed
    account.save()
    assert set(blocked(account)) == codes


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("now", "code"),
    [
        ("2026-11-25 09:29", "market_closed"),
        ("2026-11-26 12:00", "market_closed"),
        ("2026-11-27 12:54", None),
        ("2026-11-27 12:55", "too_close_to_close"),
        ("2026-11-27 13:00", "market_closed"),
        ("2026-11-25 15:54", None),
    ],
)
def test_the_exchange_has_to_be_open(account, now, code):
    assert set(blocked(account, now)) == ({code} if code else set())


@pytest.mark.django_db
def test_the_global_kill_switch_stops_every_account(account):
    TradingControl.objects.create(trading_paused=True, reason="Audit")
    assert "Audit" in blocked(account)["trading_paused"].message


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("source", "error"),
    [
        (EventSource.ABLY, Deferred),
        (EventSource.SCHEDULE, Deferred),
        (EventSource.COMMAND, Refused),
        (EventSource.ADMIN, Refused),
    ],
)
def test_a_closed_exchange_defers_what_nobody_waits_for_and_refuses_a_person(account, source, error):
    with pytest.raises(Refused) as caught:
        enforce(list(blocked(account, "2026-11-26 12:00").values()), source)
    assert type(caught.value) is error
    assert caught.value.code == "market_closed"


@pytest.mark.django_db(transaction=True)
def test_a_preview_shows_the_guards_that_would_block_and_plans_all_the_same(make_account):
    account = make_account(trading_paused=True)
    run = carry_out(account, ExecCommand.PRINT_REBALANCE)
    assert run.state == "completed" and run.result["trades"]
    assert [guard["code"] for guard in run.guards if not guard["passed"]] == ["trading_paused"]
    refused = carry_out(account)
    assert (refused.state, refused.error_code) == ("refused", "trading_paused")
    assert not SimulatedOrder.objects.exists()


@pytest.mark.django_db
def test_every_guard_has_its_place_in_the_documents(account):
    from trading.error_codes import all_codes

    run = queue(account)
    guards = check_guards(account.pk, run.pk, resolve_policy(account), at("2026-11-25 10:00"), XNYS)
    assert {result.code for result in guards} <= set(all_codes())
    assert Account.TradeGuard.values


IN_A_PREVIEW = [
    "account_disabled",
    "no_strategy",
    "trading_paused",
    "wrong_environment",
    "live_not_allowed",
    "live_not_armed",
    "orders_unknown",
    "schedule_late",
    "too_close_to_close",  # or market_closed, when it is
    "trade_guard",
    "trade_guard_plan",
    "sell_not_feasible",
    "buy_not_feasible",
    "turnover_limit",
    "targets_old",
]


@pytest.mark.django_db(transaction=True)
def test_every_guard_stands_in_the_preview_with_its_sentence(make_account, admin_client):
    run = carry_out(make_account(), ExecCommand.PRINT_REBALANCE)
    assert [guard["code"] for guard in run.guards] == IN_A_PREVIEW
    page = admin_client.get(reverse("trading:run", args=[run.run_id])).content.decode()
    for guard in run.guards:
        assert guard["message"].endswith(".") and f"{escape(guard['message'])} <code>{guard['code']}</code>" in page
    assert set(IN_A_PREVIEW) <= set(all_codes())
