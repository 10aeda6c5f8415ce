"""Plans that wait for a user until the session's close: approve, decline, expire, and the limits of a late approval."""

import re
from contextlib import contextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from io import StringIO

import pytest
import time_machine
from django.contrib.auth.models import Permission, User
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db.models import F
from django.urls import reverse

from accounts.models import TargetAllocation
from brokers.exchange_calendar import NEW_YORK
from brokers.simulated.matching_engine import set_position
from brokers.simulated.models import SimulatedAccount, SimulatedInstrument, SimulatedOrder
from calculator import TradeCalculationResult
from tests.support.makers import carry_out, held, policy, queue, work_run
from trading.actions.approvals import approval_state, decline_plan, waiting_plans
from trading.actions.preview_state import preview_state
from trading.actions.previews import execute_preview
from trading.errors import Refused
from trading.models import AuditEntry, EventSource, EventState, Notification, RebalanceRun, StrategyEvent
from trading.models.run_documents import ExecCommand
from trading.planning.approved_plan import plan_differences
from trading.schedule import sweeper
from trading.schedule.sweeper import sweep

pytestmark = pytest.mark.django_db(transaction=True)
MORNING = datetime(2026, 11, 25, 10, 0, tzinfo=NEW_YORK)
CLOSE = datetime(2026, 11, 25, 16, 0, tzinfo=NEW_YORK)


@pytest.fixture(autouse=True)
def exchange(settings):
    """The calendar of the exchange. SQLite's clock moves with the test's, so that a lease must outlive the move."""
    settings.MARKET_CALENDAR, settings.LEASE_TTL_SECONDS = "XNYS", 36_000


@contextmanager
def at(instant):
    with time_machine.travel(instant):
        yield


def trader(name="tess"):
    user = User.objects.create_user(name, is_staff=True)
    rights = ("view_account", "preview_account", "execute_account")
    user.user_permissions.set(Permission.objects.filter(codename__in=rights))
    return User.objects.get(pk=user.pk)


@pytest.fixture
def account(make_account):
    return make_account(positions={"VTI": "250"}, cash="100", policy=policy(max_turnover_percent=Decimal(20)))


@pytest.fixture
def plan(account):
    """A plan that has waited since ten o'clock."""
    with at(MORNING):
        return carry_out(account, source=EventSource.SCHEDULE)


def move(symbol, factor):
    SimulatedInstrument.objects.filter(symbol=symbol).update(base_price_usd=F("base_price_usd") * Decimal(factor))


def approve(plan, user=None, **fields):
    return execute_preview(RebalanceRun.objects.get(pk=plan.pk), user, plan_hash=plan.plan_hash, **fields)


def refused_code(call, *arguments, **fields):
    with pytest.raises(Refused) as refused:
        call(*arguments, **fields)
    return refused.value.code


def waiting():
    return [plan.run_id for plan in waiting_plans()]


# ---- which plans wait, and how long


def test_held_plan_waits_until_the_close_and_expires_with_one_message(plan):
    assert (plan.error_code, plan.approval_until) == ("turnover_limit", CLOSE)
    with at(CLOSE - timedelta(minutes=1)):
        assert (waiting(), approval_state(plan)) == ([plan.run_id], "waiting")
        sweep()
        assert not Notification.objects.filter(title__startswith="Approval expired").exists()
    with at(CLOSE + timedelta(seconds=1)):
        assert (waiting(), approval_state(plan)) == ([], "expired")
        sweep()
        sweep()
        assert refused_code(approve, plan, trader()) == "approval_expired"
        assert refused_code(decline_plan, plan, None) == "approval_expired"
    assert Notification.objects.get(title__startswith="Approval expired").run == plan
    assert plan.timeline.filter(code="approval_expired").count() == 1


def test_late_rebalance_that_is_only_previewed_waits(account):
    policy(max_turnover_percent=Decimal(1000))
    with at(MORNING):
        seen = carry_out(account, ExecCommand.PRINT_REBALANCE, source=EventSource.ABLY)
        assert (seen.approval_until, waiting()) == (None, [])
        event = StrategyEvent.objects.get()
        event.pk, event.message_id, event.exec, event.state = None, "late", "rebalance", EventState.LATE
        event.save()
        seen.pk, seen.run_id, seen.event, seen.state = None, "lateplan22", event, "queued"
        seen.plan_hash, seen.result, seen.finished_at = "", {}, None
        seen.save()
        late = work_run(seen)
        assert (late.state, late.approval_until, waiting()) == ("completed", CLOSE, [late.run_id])


def test_preview_at_night_waits_for_the_next_session_and_can_be_approved_in_it(account):
    with at(datetime(2026, 11, 24, 20, 0, tzinfo=NEW_YORK)):
        night = carry_out(account, ExecCommand.PRINT_REBALANCE, source=EventSource.SCHEDULE)
        assert (night.approval_until, waiting()) == (CLOSE, [night.run_id])
        assert refused_code(approve, night, trader()) == "preview_blocked"
    with at(MORNING):
        run = work_run(approve(night, User.objects.get()))
    assert run.state == "completed", run.error_message


def test_plan_that_a_guard_blocks_for_good_does_not_wait(account):
    with at(CLOSE - timedelta(minutes=2)):
        preview = carry_out(account, ExecCommand.PRINT_REBALANCE, source=EventSource.SCHEDULE)
    assert (preview.state, preview.approval_until) == ("completed", None)


def test_newer_plan_of_the_account_takes_the_place_of_the_waiting_one(account, plan):
    with at(MORNING + timedelta(hours=1)):
        newer = carry_out(account, source=EventSource.SCHEDULE)
        assert waiting() == [newer.run_id]
        assert approval_state(plan) == "superseded"
        assert refused_code(approve, plan, trader()) == "preview_superseded"
        assert refused_code(decline_plan, plan, None) == "preview_superseded"
    with at(CLOSE):
        sweep()
    assert Notification.objects.get(title__startswith="Approval expired").run == newer


# ---- approve, at once and later


def test_plan_is_executed_as_stored_while_its_quotes_are_valid(plan):
    with at(MORNING + timedelta(minutes=2)):
        move("SPY", "1.005")
        run = work_run(approve(plan, trader()))
    assert (run.state, run.plan_hash) == ("completed", plan.plan_hash), run.error_message
    assert not run.timeline.filter(code="approval_replanned").exists()
    assert waiting() == []


def test_plan_that_is_approved_three_hours_later_is_planned_again_at_current_prices(plan):
    move("IEF", "1.005")
    with at(MORNING + timedelta(hours=3)):
        run = work_run(approve(plan, trader(), note="Checked with Ann"))
    assert run.state == "completed", run.error_message
    before, after = (
        {trade["symbol"]: trade["quantity"] for trade in one.result["trades"]}
        for one in (RebalanceRun.objects.get(pk=plan.pk), run)
    )
    assert before.keys() == after.keys()
    assert before["IEF"] > after["IEF"] == held("U1")["IEF"]
    assert run.plan_hash != plan.plan_hash
    entry = AuditEntry.objects.get(action="approved plan repriced")
    assert (entry.person, entry.subject) == ("tess", str(run))
    assert plan.plan_hash in entry.detail and run.plan_hash in entry.detail
    assert f"IEF BUY {before['IEF']} → BUY {after['IEF']}" in run.timeline.get(code="approval_replanned").message
    assert approval_state(RebalanceRun.objects.get(pk=plan.pk)) == "approved"
    assert "Checked with Ann" in AuditEntry.objects.get(action="approved").detail


def deposit():
    SimulatedAccount.objects.update(cash_usd=F("cash_usd") + 5000)


BEYOND = [
    (lambda: move("SPY", "1.03"), "preview_moved", "SPY"),
    (lambda: set_position("U1", "GLD", Decimal(1)), "preview_moved", "positions"),
    (deposit, "plan_differs", "SPY: approved BUY"),
]


@pytest.mark.parametrize(("change", "code", "named"), BEYOND)
def test_plan_beyond_its_limits_is_refused_with_the_difference_and_nothing_is_sent(plan, change, code, named):
    change()
    with at(MORNING + timedelta(hours=3)):
        run = work_run(approve(plan, trader()))
    assert (run.state, run.error_code) == ("refused", code), run.error_message
    assert named in run.error_message
    assert not SimulatedOrder.objects.exists()


CHANGED = [
    (lambda: TargetAllocation.objects.filter(symbol="SPY").update(weight="0.5"), "preview_moved", "targets"),
    (lambda: policy(max_turnover_percent=Decimal(21)), "approval_outdated", "20"),
]


@pytest.mark.parametrize(("change", "code", "named"), CHANGED)
def test_plan_whose_targets_or_settings_change_after_its_approval_is_refused(plan, change, code, named):
    with at(MORNING + timedelta(hours=3)):
        run = approve(plan, trader())
        change()
        run = work_run(run)
    assert (run.state, run.error_code) == ("refused", code), run.error_message
    assert named in run.error_message
    assert not SimulatedOrder.objects.exists()


@pytest.mark.parametrize(("change", "code", "named"), CHANGED)
def test_plan_whose_targets_or_settings_have_changed_cannot_be_approved(plan, client, change, code, named):
    person, page = trader(), reverse("trading:approvals")
    with at(MORNING + timedelta(minutes=5)):
        client.force_login(person)
        assert client.get(page).context["cards"][0]["refusal"] is None
        change()
        (card,) = client.get(page).context["cards"]
        assert card["refusal"].code == code and named in card["refusal"].message
        with pytest.raises(Refused) as refused:
            approve(plan, person)
        assert refused.value.code == code
        assert preview_state(RebalanceRun.objects.get(pk=plan.pk), person).state == "superseded"


def test_approved_plan_whose_run_starts_after_the_close_is_refused(plan, monkeypatch):
    with at(CLOSE - timedelta(minutes=10)):
        run = approve(plan, trader(), source=EventSource.API)
    with at(CLOSE + timedelta(minutes=10)):
        run = work_run(run)
        assert (run.state, run.error_code) == ("deferred", "market_closed")
    RebalanceRun.objects.filter(pk=run.pk).update(state="queued", not_before=None)
    with at(MORNING + timedelta(days=2)):
        run = work_run(run)
    assert (run.state, run.error_code) == ("refused", "approval_expired")
    assert not SimulatedOrder.objects.exists()


def line(symbol, quantity, held="0", quote="100"):
    numbers = {"quote_usd": quote, "mark_usd": quote, "held": held, "target_value_usd": "0", "price": quote}
    return {"symbol": symbol, "quantity": quantity, "reason": "r", "detail": "d"} | numbers


def planned(*lines, turnover="50"):
    sells, buys = [row for row in lines if row["quantity"] < 0], [row for row in lines if row["quantity"] > 0]
    content = {"total_value_usd": "100000", "floor_usd": "0", "cash_usd": "0", "commission": {}, "band_lifted": False}
    projection = {"cash": "0", "l1_error": "0", "weights": {}}
    return TradeCalculationResult.model_validate(
        {
            **dict.fromkeys(("trades", "not_traded", "warnings"), ()),
            **dict.fromkeys(("before", "expected"), projection),
            "target_weights": {},
            "turnover_percent": turnover,
            "residual_drift_before": "0",
            "residual_drift_expected": "0",
            "plan": content | {"sells": sells, "buys": buys},
        }
    )


APPROVED = [line("AAA", -200, held="1000"), line("BBB", 300), line("CCC", 1)]


@pytest.mark.parametrize(
    ("lines", "turnover", "differing"),
    [
        (APPROVED, "50", []),
        ([line("AAA", -210, held="1000"), line("BBB", 303), line("CCC", 2)], "50.5", []),
        ([line("AAA", -190, held="1000"), line("BBB", 297)], "50", []),  # one share is the least that may differ
        ([line("AAA", -211, held="1000"), line("BBB", 300), line("CCC", 1)], "50", ["AAA"]),
        ([line("AAA", -200, held="1000"), line("BBB", 304), line("CCC", 1)], "50", ["BBB"]),
        ([line("AAA", -200, held="1000"), line("BBB", 300), line("CCC", -1)], "50", ["CCC"]),
        ([*APPROVED, line("DDD", 1)], "50", ["DDD"]),
        ([line("AAA", -200, held="1000")], "50", ["BBB"]),
        (APPROVED, "50.6", ["turnover"]),
        (APPROVED, "30", []),
    ],
)
def test_limits_of_a_plan_that_is_made_again_are_exact(lines, turnover, differing):
    found = plan_differences(planned(*APPROVED), planned(*lines, turnover=turnover), Decimal(1), Decimal(20))
    assert [text.split(":")[0] for text in found] == differing


@pytest.mark.parametrize(("policy_limit", "differing"), [("50.1", ["turnover"]), ("49", []), ("51", [])])
def test_new_plan_passes_the_turnover_limit_only_if_the_approved_one_did(policy_limit, differing):
    found = plan_differences(planned(*APPROVED), planned(*APPROVED, turnover="50.2"), Decimal(1), Decimal(policy_limit))
    assert [text.split(":")[0] for text in found] == differing


# ---- decline


def test_declined_plan_leaves_the_list_and_cannot_be_executed(plan, client):
    user = trader()
    client.force_login(user)
    with at(MORNING + timedelta(hours=1)):
        answer = client.post(reverse("trading:decline", args=[plan.run_id]), {"note": "Wait for <b>Monday</b>"})
        assert answer.url == reverse("trading:approvals")
        plan.refresh_from_db()
        assert (plan.declined_by, plan.decliner_name, plan.decline_note) == (user, "tess", "Wait for <b>Monday</b>")
        assert waiting() == []
        assert refused_code(approve, plan, trader("bob")) == "plan_declined"
        assert decline_plan(plan, user).declined_at == plan.declined_at
        assert refused_code(decline_plan, plan, User.objects.get(username="bob")) == "plan_declined"
        for address in (reverse("trading:run", args=[plan.run_id]), reverse("trading:approvals")):
            assert "Wait for &lt;b&gt;Monday" in client.get(address).content.decode()
    with at(CLOSE):
        sweep()
    assert "Monday" in AuditEntry.objects.get(action="declined").detail
    assert not Notification.objects.filter(title__startswith="Approval expired").exists()


def test_decline_needs_the_permission_to_execute_and_a_short_note(plan):
    with at(MORNING):
        assert refused_code(decline_plan, plan, User.objects.create_user("vera")) == "not_permitted"
        assert refused_code(decline_plan, plan, trader(), "x" * 501) == "note_too_long"
        assert waiting() == [plan.run_id]


def test_plan_that_does_not_wait_cannot_be_declined(make_account):
    with at(MORNING):
        preview = carry_out(make_account(), ExecCommand.PRINT_REBALANCE)
        assert refused_code(decline_plan, preview, trader()) == "not_waiting"


# ---- the page


def test_page_counts_lists_and_answers_the_waiting_plans(plan, client):
    client.force_login(trader())
    with at(MORNING + timedelta(hours=3)):
        page = client.get(reverse("trading:approvals"))
        (card,) = page.context["cards"]
        assert (card["plan"].run_id, card["refusal"], card["approvers"]) == (plan.run_id, None, "you")
        assert [reason.code for reason in card["plan"].reasons] == ["turnover_limit"]
        assert page.context["waiting_approvals"]() == 1
        assert 'id="waiting-approvals"' in client.get("/").content.decode()
        sent = client.post(reverse("trading:execute", args=[plan.run_id]), {"plan_hash": plan.plan_hash})
        run = RebalanceRun.objects.get(approved_preview=plan)
        assert sent.url == reverse("trading:run", args=[run.run_id])
        work_run(run)
        assert run.state == "completed", run.error_message
        page = client.get(reverse("trading:approvals"))
        assert (page.context["cards"], page.context["waiting_approvals"]()) == ([], 0)
        assert [row["state"] for row in page.context["answered"]] == ["approved"]
        runs = client.get(reverse("trading:runs")).content.decode()
        assert "Held for approval" in runs and not re.search(r"\bwaits for approval\b|Waiting for approval", runs)


def test_page_shows_a_viewer_who_may_approve_and_no_buttons(plan, client):
    trader("ann")
    viewer = User.objects.create_user("vera", is_staff=True)
    viewer.user_permissions.set(Permission.objects.filter(codename="view_account"))
    client.force_login(viewer)
    with at(MORNING):
        page = client.get(reverse("trading:approvals"))
    (card,) = page.context["cards"]
    assert (card["refusal"].code, card["may_decline"], card["approvers"]) == ("not_permitted", False, "ann")
    text = page.content.decode()
    assert reverse("trading:execute", args=[plan.run_id]) not in text
    assert reverse("trading:decline", args=[plan.run_id]) not in text


def test_live_plan_is_approved_on_its_page_with_the_account_number(make_account, client, settings):
    settings.TRADING_MODE, settings.ALLOW_LIVE_TRADING = "live", True
    account = make_account(type="live", live_armed=True, policy=policy(max_turnover_percent=Decimal(0)))
    user = trader()
    user.user_permissions.add(Permission.objects.get(codename="execute_live_account"))
    client.force_login(user)
    with at(MORNING):
        plan = carry_out(account, source=EventSource.SCHEDULE)
    with at(MORNING + timedelta(hours=3)):
        page = client.get(reverse("trading:approvals"))
        assert page.context["cards"][0]["refusal"] is None
        assert reverse("trading:execute", args=[plan.run_id]) not in page.content.decode()
        assert 'name="account_id"' in client.get(reverse("trading:run", args=[plan.run_id])).content.decode()
        client.post(reverse("trading:execute", args=[plan.run_id]), {"plan_hash": plan.plan_hash})
        assert waiting() == [plan.run_id]
        client.post(reverse("trading:execute", args=[plan.run_id]), {"plan_hash": plan.plan_hash, "account_id": "U1"})
        run = work_run(RebalanceRun.objects.get(approved_preview=plan))
    assert run.state == "completed", run.error_message


# ---- the command


def command(*arguments):
    out = StringIO()
    try:
        call_command("approvals", *arguments, stdout=out)
    except CommandError as error:
        return error.returncode, str(error)
    return 0, out.getvalue()


def test_command_lists_approves_and_declines(account, plan):
    import json

    with at(MORNING + timedelta(hours=3)):
        (listed,) = json.loads(command("--json")[1])
        assert (listed["run_id"], listed["sells"], listed["buys"]) == (plan.run_id, 1, 2)
        assert listed["reasons"][0]["code"] == "turnover_limit"
        assert plan.run_id in command()[1]
        assert command("decline")[0] == 2
        assert command("approve", "nothing222")[0] == 2
        assert json.loads(command("approve", plan.run_id, "--json")[1])["state"] == "queued"
        assert command("approve", plan.run_id)[0] == 0
        run = work_run(RebalanceRun.objects.get(approved_preview=plan))
        assert (run.state, run.requester_name) == ("completed", "")
        second = carry_out(account, ExecCommand.PRINT_REBALANCE)
        assert command("approve", second.run_id)[1].startswith("not_waiting")
    with at(MORNING + timedelta(hours=4)):
        set_position("U1", "VTI", Decimal(250))
        third = carry_out(account, source=EventSource.SCHEDULE)
        assert command("decline", third.run_id, "--note", "Not today")[0] == 0
        assert command("approve", third.run_id)[0] == 3
        assert (RebalanceRun.objects.get(pk=third.pk).decline_note, waiting()) == ("Not today", [])


def test_plans_that_cannot_be_closed_do_not_keep_runs_waiting(make_account, monkeypatch):
    def fail(now):
        raise ValueError("an odd plan")

    monkeypatch.setattr(sweeper, "close_expired_approvals", fail)
    run = queue(make_account())
    assert sweeper.sweep() == 1
    assert RebalanceRun.objects.get(pk=run.pk).state == "queued"
