"""Which settings a run executes under: the current ones until its first order, and those that a user approved."""

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import Permission, User
from django.utils import timezone

from accounts.models import Account, ReplacementRule, ReplacementSet, Strategy
from tests.support.makers import carry_out, cash, held, policy, queue, strategy, work_run
from trading.actions.previews import execute_preview
from trading.journal.claims import requeue
from trading.models import EventSource, ExecutedSession, RebalanceRun
from trading.models.run_documents import ExecCommand
from trading.orders import execution

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def trader():
    user = User.objects.create_user("tess", password="pw")
    rights = ("view_account", "preview_account", "execute_account")
    user.user_permissions.set(Permission.objects.filter(codename__in=rights))
    return User.objects.get(pk=user.pk)


@pytest.fixture
def before_first_order(monkeypatch):
    """Calls a function once, after the plan and before the first order."""

    def arrange(action):
        original, actions = execution.OrderPhase.execute, [action]

        async def execute(self, orders):
            if actions:
                await sync_to_async(actions.pop())()
            return await original(self, orders)

        monkeypatch.setattr(execution.OrderPhase, "execute", execute)

    return arrange


def change_policy() -> None:
    policy("own", minimum_cash_reserve_usd=60_000)


def timeline(run):
    return dict(run.timeline.values_list("code", "message"))


def test_deferred_run_executes_under_the_policy_of_the_day_on_which_it_resumes(make_account):
    account = make_account(policy=policy("own"), trade_guard=Account.TradeGuard.ONCE_PER_SESSION)
    blocker = carry_out(account, ExecCommand.PRINT_REBALANCE)
    ExecutedSession.objects.create(
        account=account, run=blocker, session_date=timezone.localdate(), first_order_at=timezone.now()
    )
    run = carry_out(account, source=EventSource.ABLY)
    assert run.state == "deferred"
    change_policy()
    ExecutedSession.objects.all().delete()
    assert requeue(run)
    run = work_run(run)
    assert (run.state, run.policy["minimum_cash_reserve_usd"]) == ("completed", "60000.00")
    assert cash("U1") >= 60_000
    assert "0 → 60000" in timeline(run)["policy_changed"]


def test_policy_change_between_plan_and_first_order_makes_a_new_plan(make_account, before_first_order):
    account = make_account(policy=policy("own"))
    before_first_order(change_policy)
    run = carry_out(account)
    assert (run.state, run.policy["minimum_cash_reserve_usd"]) == ("completed", "60000.00")
    assert cash("U1") >= 60_000
    assert set(run.orders.values_list("state", flat=True)) == {"cancelled", "filled"}
    assert {"account_changed", "policy_changed"} <= set(timeline(run))


def set_replacement() -> None:
    rules = ReplacementSet.objects.create(name="own")
    ReplacementRule.objects.create(replacement_set=rules, source="SPY", target="VOO")
    Account.objects.update(replacement_set=rules)


CHANGES = [
    (change_policy, "approval_outdated"),
    (lambda: Account.objects.update(cash_reserve_percent=5), "approval_outdated"),
    (lambda: Account.objects.update(trade_guard=Account.TradeGuard.PDT_LEGACY), "approval_outdated"),
    (set_replacement, "approval_outdated"),
    (lambda: Account.objects.update(live_armed=True), "approval_outdated"),
    (lambda: Strategy.objects.update(auto_approve_turnover_percent=5), "approval_outdated"),
    (lambda: Account.objects.update(strategy=strategy("other", {"SPY": "1"})), "strategy_changed"),
    (lambda: Account.objects.update(trading_paused=True), "trading_paused"),
]


@pytest.mark.parametrize(("change", "code"), CHANGES)
def test_approved_plan_is_refused_when_a_setting_changed_since(make_account, trader, change, code):
    account = make_account(policy=policy("own"))
    preview = carry_out(account, ExecCommand.PRINT_REBALANCE)
    run = execute_preview(preview, trader, plan_hash=preview.plan_hash)
    change()
    run = work_run(run)
    assert (run.state, run.error_code, held("U1")) == ("refused", code, {})


def test_approved_plan_is_refused_when_a_setting_changes_right_before_the_first_order(
    make_account, trader, before_first_order
):
    account = make_account(policy=policy("own"))
    preview = carry_out(account, ExecCommand.PRINT_REBALANCE)
    before_first_order(change_policy)
    run = work_run(execute_preview(preview, trader, plan_hash=preview.plan_hash))
    assert (run.state, run.error_code, held("U1")) == ("refused", "approval_outdated", {})
    assert "60000" in run.error_message


def test_approved_plan_is_executed_when_no_setting_changed(make_account, trader):
    preview = carry_out(make_account(policy=policy("own")), ExecCommand.PRINT_REBALANCE)
    run = work_run(execute_preview(preview, trader, plan_hash=preview.plan_hash))
    assert (run.state, run.error_message) == ("completed", "")
    assert "policy_changed" not in timeline(run)


def test_run_of_an_account_that_changed_its_strategy_meanwhile_is_refused(make_account):
    account = make_account()
    run = queue(account, source=EventSource.ABLY)
    Account.objects.update(strategy=strategy("other", {"SPY": "1"}))
    run = work_run(run)
    assert (run.state, run.error_code, held("U1")) == ("refused", "strategy_changed", {})
    assert RebalanceRun.objects.get().strategy_name == "strategy-of-u1"
