"""Exchange sessions, the trade guard once per session, and the account guards."""

from datetime import UTC, date, datetime, time
from zoneinfo import ZoneInfo

import pytest
from django.urls import reverse
from django.utils.html import escape

from accounts.policies import resolve_policy
from brokers.exchange_calendar import ExchangeCalendar
from brokers.simulated.models import SimulatedOrder
from tests.support.makers import carry_out, policy, queue, simulated_account
from trading.common.formats import new_york_time
from trading.error_codes import GUARDS, OnFail, needs_approval
from trading.errors import Deferred, Refused
from trading.guards.account import check_guards
from trading.guards.may_trade import enforce
from trading.guards.trade_guard import check_trade_guard
from trading.market_calendar import AlwaysOpenCalendar
from trading.models import EventSource, ExecutedSession, TradingControl
from trading.models.run_documents import ExecCommand, GuardResult

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
def test_session_of_returns_the_session_in_which_an_order_executes(instant, day, opens, closes):
    session = XNYS.session_of(at(instant))
    assert session.day == date.fromisoformat(day)
    assert f"{session.opens_at.astimezone(NEW_YORK):%H:%M}" == opens
    assert f"{session.closes_at.astimezone(NEW_YORK):%H:%M}" == closes


def test_always_open_calendar_has_one_session_per_day():
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
def test_trade_guard_after_a_rebalance_blocks_until_the_next_session_opens(account, regime, done, now, until):
    executed(account, done)
    check = check_trade_guard(account.pk, regime, at(now), XNYS)
    assert check.allowed == (until is None)
    if until:
        assert check.next_allowed_at == at(until)
        assert new_york_time(at(until)) in check.message


@pytest.mark.django_db
@pytest.mark.parametrize(("resume", "until"), [(time(9, 0), "09:30"), (time(9, 30), "09:30"), (time(10, 15), "10:15")])
def test_trade_guard_resumes_at_the_policys_time_and_not_before_the_open(account, resume, until):
    executed(account, "2026-11-25")
    check = check_trade_guard(account.pk, "once_per_session", at("2026-11-25 15:00"), XNYS, resume=resume)
    assert check.next_allowed_at == at(f"2026-11-27 {until}")


@pytest.mark.django_db
def test_trade_guard_of_a_resumed_run_ignores_that_run(account):
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
def test_guard_failed_has_its_code_and_a_message(account, change, code):
    run = queue(account)
    for field, value in change.items():
        setattr(account, field, value)
    account.save()
    guards = check_guards(account.pk, run.pk, resolve_policy(account), at("2026-11-25 10:00"), XNYS)
    results = {result.code: result for result in guards}
    assert not results[code].passed
    assert results[code].message.endswith(".")


@pytest.mark.django_db
def test_guards_of_an_account_without_problems_all_pass(account):
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
def test_live_account_needs_setting_and_arming(account, settings, allow, armed, codes):
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
def test_guards_outside_the_session_fail(account, now, code):
    assert set(blocked(account, now)) == ({code} if code else set())


@pytest.mark.django_db
def test_trading_paused_globally_fails_with_the_reason(account):
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
def test_market_closed_defers_an_unattended_run_and_refuses_a_user(account, source, error):
    with pytest.raises(Refused) as caught:
        enforce(list(blocked(account, "2026-11-26 12:00").values()), source)
    assert type(caught.value) is error
    assert caught.value.code == "market_closed"


@pytest.mark.django_db(transaction=True)
def test_preview_with_failed_guard_still_has_a_plan(make_account):
    account = make_account(trading_paused=True)
    run = carry_out(account, ExecCommand.PRINT_REBALANCE)
    assert run.state == "completed" and run.result["trades"]
    assert [guard["code"] for guard in run.guards if not guard["passed"]] == ["trading_paused"]
    refused = carry_out(account)
    assert (refused.state, refused.error_code) == ("refused", "trading_paused")
    assert not SimulatedOrder.objects.exists()


IN_A_PREVIEW = [code for code in GUARDS if code != "market_closed"]
"""An open market is reported under the code of the guard that follows."""


@pytest.mark.django_db(transaction=True)
def test_preview_shows_every_guard_of_the_table_in_order(make_account, admin_client):
    run = carry_out(make_account(), ExecCommand.PRINT_REBALANCE)
    assert [guard["code"] for guard in run.guards] == IN_A_PREVIEW
    page = admin_client.get(reverse("trading:run", args=[run.run_id])).content.decode()
    for guard in run.guards:
        assert guard["message"].endswith(".")
        assert (f"✓ {escape(guard['message'])}" if guard["passed"] else f"<code>{guard['code']}</code>") in page


LATER = at("2026-11-27 09:30")


@pytest.mark.parametrize(
    ("code", "source", "error"),
    [
        ("account_disabled", EventSource.SCHEDULE, Refused),
        ("market_closed", EventSource.SCHEDULE, Deferred),
        ("market_closed", EventSource.COMMAND, Refused),
        ("trade_guard", EventSource.SCHEDULE, Deferred),
        ("trade_guard", EventSource.ADMIN, Deferred),
        ("trade_guard_plan", EventSource.ADMIN, Deferred),
    ],
)
def test_enforce_refuses_or_defers_as_the_table_states(code, source, error):
    not_before = None if GUARDS[code].on_fail is OnFail.REFUSE else LATER
    with pytest.raises(Refused) as caught:
        enforce([GuardResult(code=code, passed=False, message="No.", not_before=not_before)], source)
    assert (type(caught.value), caught.value.code) == (error, code)


@pytest.mark.parametrize("code", [code for code, guard in GUARDS.items() if guard.on_fail is OnFail.HOLD])
def test_enforce_skips_guards_that_hold_the_plan(code):
    result = GuardResult(code=code, passed=False, message="No.")
    enforce([result], EventSource.SCHEDULE)
    assert result.needs_approval and needs_approval(code)


def test_needs_approval_is_false_for_other_codes():
    assert not needs_approval("account_disabled") and not needs_approval("preview_expired") and not needs_approval("")
