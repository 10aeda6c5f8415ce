"""A plan beyond the turnover limit is held: a person approves that plan while it is valid, or previews anew."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.contrib.auth.models import Permission, User
from django.urls import reverse
from django.utils import timezone

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
