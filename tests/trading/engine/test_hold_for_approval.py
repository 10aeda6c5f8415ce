"""Plans above the turnover limit or with old targets are held until a user approves them or makes a new preview.

A strategy can approve small plans of held symbols automatically.
"""

import json
from datetime import timedelta
from decimal import Decimal

import pytest
from django.contrib.auth.models import Permission, User
from django.urls import reverse
from django.utils import timezone

from accounts.models import Strategy, TargetAllocation
from brokers.broker_types import AccountSnapshot
from brokers.simulated.models import SimulatedOrder
from calculator import TradeCalculationResult
from calculator.formats import percent
from tests.support.makers import carry_out, held, policy, work_run
from trading.actions.previews import execute_preview
from trading.common.formats import new_york_time
from trading.errors import Refused
from trading.guards.auto_approval import decide
from trading.models import AuditEntry, EventSource, Notification, RebalanceRun
from trading.models.run_documents import ExecCommand, RunWarning
from trading.planning.proposal import Proposal
from trading.planning.run_context import make_run_context

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def trader():
    user = User.objects.create_user("tess", password="pw", is_staff=True)
    rights = ("view_account", "preview_account", "execute_account")
    user.user_permissions.set(Permission.objects.filter(codename__in=rights))
    return User.objects.get(pk=user.pk)


@pytest.fixture
def account(make_account):
    return make_account(positions={"VTI": "250"}, cash="100", policy=policy(max_turnover_percent=Decimal(20)))


def test_run_above_the_turnover_limit_is_held_and_users_are_notified(account, trader, client):
    run = carry_out(account, source=EventSource.SCHEDULE)
    assert (run.state, run.error_code) == ("refused", "turnover_limit")
    assert run.plan_expires_at > timezone.now()
    assert not SimulatedOrder.objects.exists()
    assert Notification.objects.filter(title__startswith="Rebalance waits for approval").exists()
    client.force_login(trader)
    page = client.get(reverse("trading:run", args=[run.run_id])).content.decode()
    assert reverse("trading:execute", args=[run.run_id]) in page
    assert "Waiting for approval" in client.get(reverse("trading:runs")).content.decode()


def test_held_plan_when_approved_is_executed_unchanged_and_once(account, trader):
    run = carry_out(account, source=EventSource.SCHEDULE)
    approved = execute_preview(run, trader, plan_hash=run.plan_hash)
    assert execute_preview(RebalanceRun.objects.get(pk=run.pk), trader, plan_hash=run.plan_hash) == approved
    work_run(approved)
    assert (approved.state, approved.plan_hash) == ("completed", run.plan_hash), approved.error_message
    assert set(held("U1")) == {"SPY", "IEF"}


def test_held_plan_that_has_expired_is_refused_until_a_new_preview(account, trader):
    run = carry_out(account, source=EventSource.SCHEDULE)
    RebalanceRun.objects.filter(pk=run.pk).update(approval_until=timezone.now() - timedelta(seconds=1))
    run.refresh_from_db()
    with pytest.raises(Refused) as refused:
        execute_preview(run, trader, plan_hash=run.plan_hash)
    assert refused.value.code == "approval_expired"
    preview = carry_out(account, ExecCommand.PRINT_REBALANCE)
    approved = execute_preview(preview, trader, plan_hash=preview.plan_hash)
    work_run(approved)
    assert approved.state == "completed", approved.error_message


def test_hold_notification_links_to_the_plan_with_its_deadline(account, trader, client, settings):
    settings.SITE_URL = "https://rebalancer.test"
    run = carry_out(account, source=EventSource.SCHEDULE)
    address = reverse("trading:run", args=[run.run_id])
    until = new_york_time(run.approval_until)
    link = f"Review the plan, and approve or decline it until {until}: https://rebalancer.test{address}"
    lines = Notification.objects.get(run=run).body.splitlines()
    assert link in lines
    assert "All plans that wait for approval: https://rebalancer.test/approvals/" in lines
    login = client.get(address, follow=True)
    assert login.redirect_chain == [(f"/admin/login/?next={address}", 302)]
    page = client.post(login.request["PATH_INFO"], {"username": "tess", "password": "pw", "next": address}, follow=True)
    assert page.request["PATH_INFO"] == address
    assert 'id="submit-orders"' in page.content.decode()
    RebalanceRun.objects.update(approval_until=timezone.now() - timedelta(seconds=1))
    late = client.get(address).content.decode()
    assert 'id="approval-expired"' in late
    assert "New preview" in late
    assert 'id="submit-orders"' not in late


def test_held_plan_without_permission_cannot_be_approved(account):
    run = carry_out(account, source=EventSource.SCHEDULE)
    with pytest.raises(Refused) as refused:
        execute_preview(run, User.objects.create_user("vera"), plan_hash=run.plan_hash)
    assert refused.value.code == "not_permitted"


# ---- old targets


def edited(days_ago):
    TargetAllocation.history.update(history_date=timezone.now() - timedelta(days=days_ago))


def test_plan_with_old_targets_is_held_for_approval(make_account, trader, client):
    account = make_account()
    edited(366)
    run = carry_out(account, source=EventSource.SCHEDULE)
    assert (run.state, run.error_code) == ("refused", "targets_old")
    assert not age_guard(run)[0] and not SimulatedOrder.objects.exists()
    client.force_login(trader)
    page = client.get(reverse("trading:run", args=[run.run_id])).content.decode()
    assert reverse("trading:execute", args=[run.run_id]) in page
    approved = execute_preview(run, trader, plan_hash=run.plan_hash)
    work_run(approved)
    assert approved.state == "completed", approved.error_message


def age_guard(run):
    (guard,) = [guard for guard in run.guards if guard["code"] == "targets_old"]
    return guard["passed"], guard["message"]


def test_targets_age_is_reset_by_saving_and_unlimited_by_policy(make_account):
    account = make_account()
    edited(800)
    assert not age_guard(carry_out(account, ExecCommand.PRINT_REBALANCE))[0]
    policy(max_targets_age_days=0)
    assert age_guard(carry_out(account, ExecCommand.PRINT_REBALANCE))[0]
    policy(max_targets_age_days=365)
    account.strategy.targets.first().save()
    assert age_guard(carry_out(account, ExecCommand.PRINT_REBALANCE))[0]


@pytest.mark.parametrize(
    ("name", "days_ago", "passed"), [("as_of", 20, True), ("updated_at", 400, False), ("", 0, True)]
)
def test_targets_age_comes_from_the_service_if_it_reports_one(make_account, allocations, name, days_ago, passed):
    account = make_account(targets=())
    reported = (timezone.now() - timedelta(days=days_ago)).isoformat()
    weights = [{"symbol": "SPY", "allocation": 0.6}, {"symbol": "IEF", "allocation": 0.4}]
    data = {"allocations": weights} | ({name: reported} if name else {})
    allocations.answer(account.strategy.name, 200, json.dumps({"data": data}))
    guard = age_guard(carry_out(account, ExecCommand.PRINT_REBALANCE))
    assert guard[0] == passed
    assert ("have no date" in guard[1]) == (not name)


# ---- automatic approval by the strategy


@pytest.fixture
def known(make_account):
    """An account that holds the symbols that it buys, with a policy that holds every plan."""
    positions = {"SPY": "80", "IEF": "100"}
    return make_account(positions=positions, cash="20000", policy=policy(max_turnover_percent=Decimal(0)))


def set_auto_approval(percent):
    Strategy.objects.update(auto_approve_turnover_percent=percent)


def test_auto_approval_of_a_small_plan_of_held_symbols_executes_it(known, trader, client):
    preview = carry_out(known, ExecCommand.PRINT_REBALANCE)
    turnover = Decimal(preview.result["turnover_percent"])
    assert [guard["message"] for guard in preview.guards if not guard["passed"]] == [
        f"The plan trades {percent(turnover)} of the account; the policy allows 0%."
    ]
    set_auto_approval((turnover + Decimal("0.01")).quantize(Decimal("0.01")))
    run = carry_out(known, source=EventSource.SCHEDULE)
    assert run.state == "completed", run.error_message
    assert SimulatedOrder.objects.count() == len(preview.result["trades"])
    assert "Approved automatically" in run.timeline.get(code="approved_by_rule").message
    audit = AuditEntry.objects.get(action="approved by rule")
    assert (audit.person, audit.subject) == ("", str(run))
    assert run.plan_hash in audit.detail
    assert "Approved automatically" in Notification.objects.get(run=run).body
    client.force_login(trader)
    assert "Approved automatically" in client.get(reverse("trading:run", args=[run.run_id])).content.decode()


def test_auto_approval_that_does_not_apply_holds_the_plan_with_the_reason(account, trader, client):
    set_auto_approval(Decimal(1000))
    run = carry_out(account, source=EventSource.SCHEDULE)
    assert (run.state, run.error_code) == ("refused", "turnover_limit")
    why = "Not approved automatically: the plan buys IEF, SPY, which the account does not hold."
    assert why in run.error_message
    assert why in Notification.objects.get(run=run).body
    client.force_login(trader)
    assert why in client.get(reverse("trading:run", args=[run.run_id])).content.decode()
    preview = carry_out(account, ExecCommand.PRINT_REBALANCE)
    assert why in client.get(reverse("trading:run", args=[preview.run_id])).content.decode()
    assert not SimulatedOrder.objects.exists()


def test_auto_approval_at_each_limit_gives_its_objection(known, settings):
    set_auto_approval(Decimal(10))
    preview = carry_out(known, ExecCommand.PRINT_REBALANCE)
    known.refresh_from_db()

    def objections(turnover="9.99", without=(), warnings=(), codes="nothing", old=False):
        settings.ONE_TIME_CODES_REQUIRED_FOR = codes
        snapshot = AccountSnapshot.model_validate(preview.snapshot)
        planned = Proposal(
            result=TradeCalculationResult.model_validate(preview.result | {"turnover_percent": turnover}),
            targets=(),
            snapshot=snapshot.model_copy(
                update={"positions": [one for one in snapshot.positions if one.symbol not in without]}
            ),
            quotes=(),
            warnings=warnings,
            open_orders=(),
            targets_as_of=None,
        )
        approval = decide(make_run_context(preview), planned, targets_are_old=old)
        assert approval.given == ("Approved automatically" in approval.reason)
        return "" if approval.given else approval.reason.removeprefix("Not approved automatically: ")

    assert objections() == ""
    assert objections("10") == "the turnover is not below 10%."
    assert objections("9.9999999") == ""
    assert objections(without=("IEF",)) == "the plan buys IEF, which the account does not hold."
    assert objections(old=True) == "the targets are old."
    assert objections(codes="live") == ""
    assert objections(codes="execute") == "approval requires a two-factor code (2FA)."
    below = RunWarning(code="weights_below_one", message="The targets add up to less than one.")
    assert objections(warnings=(below,)) == "the plan has warnings (weights_below_one)."
    assert objections("11", without=("SPY", "IEF")) == (
        "the turnover is not below 10%; the plan buys IEF, which the account does not hold."
    )  # SPY is sold only
