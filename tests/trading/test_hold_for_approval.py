"""A plan beyond the turnover limit or on old targets is held: a person approves it in time, or previews anew."""

import json
from datetime import timedelta
from decimal import Decimal

import pytest
from django.contrib.auth.models import Permission, User
from django.urls import reverse
from django.utils import timezone

from accounts.models import TargetAllocation
from brokers.simulated.models import SimulatedOrder
from tests.support.makers import carry_out, held, policy
from trading.approvals import execute_preview
from trading.errors import Refused
from trading.models import EventSource, Notification, RebalanceRun
from trading.slot_worker import work_slot
from trading.values import ExecCommand

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


def test_an_event_beyond_the_limit_is_held_and_people_are_told(account, trader, client):
    run = carry_out(account, source=EventSource.SCHEDULE)
    assert (run.state, run.error_code) == ("refused", "turnover_limit")
    assert "waits for a person to approve it" in run.error_message
    assert not SimulatedOrder.objects.exists()
    assert Notification.objects.filter(title__startswith="Rebalance waits for approval").exists()
    client.force_login(trader)
    page = client.get(reverse("trading:run", args=[run.run_id])).content.decode()
    assert "Needs approval:" in page and reverse("trading:execute", args=[run.run_id]) in page


def test_a_person_sends_exactly_the_plan_that_is_held_once(account, trader):
    run = carry_out(account, source=EventSource.SCHEDULE)
    approved = execute_preview(run, trader, digest=run.plan_digest)
    assert execute_preview(RebalanceRun.objects.get(pk=run.pk), trader, digest=run.plan_digest) == approved
    work_slot(approved.connection_id)
    approved.refresh_from_db()
    assert (approved.state, approved.plan_digest) == ("completed", run.plan_digest), approved.error_message
    assert set(held("U1")) == {"SPY", "IEF"}


def test_what_is_too_old_is_previewed_anew_and_can_be_sent_then(account, trader):
    run = carry_out(account, source=EventSource.SCHEDULE)
    RebalanceRun.objects.filter(pk=run.pk).update(plan_expires_at=timezone.now() - timedelta(seconds=1))
    run.refresh_from_db()
    with pytest.raises(Refused) as refused:
        execute_preview(run, trader, digest=run.plan_digest)
    assert refused.value.code == "preview_expired"
    preview = carry_out(account, ExecCommand.PRINT_REBALANCE)
    approved = execute_preview(preview, trader, digest=preview.plan_digest)
    work_slot(approved.connection_id)
    approved.refresh_from_db()
    assert approved.state == "completed", approved.error_message


def test_nobody_without_the_right_approves(account):
    run = carry_out(account, source=EventSource.SCHEDULE)
    with pytest.raises(Refused) as refused:
        execute_preview(run, User.objects.create_user("vera"), digest=run.plan_digest)
    assert refused.value.code == "not_permitted"


# ---- old targets


def edited(days_ago):
    TargetAllocation.history.update(history_date=timezone.now() - timedelta(days=days_ago))


def test_a_plan_on_targets_that_nobody_has_touched_for_long_waits_for_a_person(make_account, trader, client):
    account = make_account()
    edited(366)
    run = carry_out(account, source=EventSource.SCHEDULE)
    assert (run.state, run.error_code) == ("refused", "targets_old")
    assert "the policy allows 365 days" in run.error_message and not SimulatedOrder.objects.exists()
    client.force_login(trader)
    page = client.get(reverse("trading:run", args=[run.run_id])).content.decode()
    assert "Needs approval:" in page and "The targets are of " in page
    approved = execute_preview(run, trader, digest=run.plan_digest)
    work_slot(approved.connection_id)
    approved.refresh_from_db()
    assert approved.state == "completed", approved.error_message


def age_guard(run):
    (guard,) = [guard for guard in run.guards if guard["code"] == "targets_old"]
    return guard["passed"], guard["message"]


def test_saving_a_target_makes_them_new_and_a_policy_may_allow_any_age(make_account):
    account = make_account()
    edited(800)
    assert not age_guard(carry_out(account, ExecCommand.PRINT_REBALANCE))[0]
    policy(max_targets_age_days=0)
    passed, words = age_guard(carry_out(account, ExecCommand.PRINT_REBALANCE))
    assert passed and "any age" in words
    policy(max_targets_age_days=365)
    account.strategy.targets.first().save()
    assert age_guard(carry_out(account, ExecCommand.PRINT_REBALANCE))[0]


@pytest.mark.parametrize(
    ("name", "days_ago", "passed"), [("as_of", 20, True), ("updated_at", 400, False), ("", 0, True)]
)
def test_a_service_may_say_how_old_its_targets_are(make_account, allocations, name, days_ago, passed):
    account = make_account(targets=())
    told = (timezone.now() - timedelta(days=days_ago)).isoformat()
    weights = [{"symbol": "SPY", "allocation": 0.6}, {"symbol": "IEF", "allocation": 0.4}]
    data = {"allocations": weights} | ({name: told} if name else {})
    allocations.answer(account.strategy.name, 200, json.dumps({"data": data}))
    guard = age_guard(carry_out(account, ExecCommand.PRINT_REBALANCE))
    assert guard[0] == passed
    assert ("Nothing says how old" in guard[1]) == (not name)
