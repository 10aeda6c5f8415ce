"""Scheduling an account asks for what submitting its orders now asks for, and its user is judged again at the open."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission, User
from django.urls import reverse
from django.utils import timezone

from accounts.models import Account, RebalancePolicy
from brokers.simulated.models import SimulatedOrder
from tests.support.makers import carry_out, queue
from tests.support.two_factor import code_of, new_device
from trading.access.two_factor import mark_verified
from trading.common.clock import database_now
from trading.engine.slot_worker import work_slot
from trading.errors import Refused
from trading.models import Order, RebalanceRun, ScheduleEntry, TradingControl
from trading.models.run_documents import ExecCommand
from trading.schedule.entries import schedule_account
from trading.schedule.market_open import run_schedule

pytestmark = pytest.mark.django_db
SENDS = pytest.mark.django_db(transaction=True)
RIGHTS = ("view_account", "preview_account", "execute_account", "execute_live_account")


@pytest.fixture
def trader(db):
    user = User.objects.create_user("tess", password="pw", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=RIGHTS))
    return User.objects.get(pk=user.pk)


@pytest.fixture
def live(plain_account, clock, settings):
    clock("2026-11-25 08:00")
    settings.TRADING_MODE, settings.ALLOW_LIVE_TRADING = "live", True
    return plain_account(type="live", live_armed=True)


@pytest.mark.parametrize(
    ("typed", "with_code", "refused_with"),
    [("", True, "confirmation_missing"), ("U2", True, "confirmation_missing"), ("U1", False, "code_missing")],
)
def test_schedule_live_account_without_confirmation_is_refused(live, trader, typed, with_code, refused_with):
    device = new_device(trader)
    mark_verified(trader)
    with pytest.raises(Refused) as refused:
        schedule_account(live, trader, typed_account_id=typed, code=code_of(device) if with_code else "000000")
    assert refused.value.code == refused_with
    assert not ScheduleEntry.objects.exists()


def test_schedule_live_account_with_number_and_code_is_stored_with_its_verification(live, trader):
    device = new_device(trader)
    mark_verified(trader)
    entry = schedule_account(live, trader, typed_account_id="U1", code=code_of(device))
    assert (entry.requested_by, entry.requester_name, entry.requester_verified) == (trader, "tess", True)


@pytest.mark.parametrize(("required", "code"), [("execute", "code_device_needed"), ("live", "code_device_needed")])
def test_schedule_needs_the_two_factor_login_that_an_approval_needs(live, trader, settings, required, code):
    settings.ONE_TIME_CODES_REQUIRED_FOR = required
    with pytest.raises(Refused) as refused:
        schedule_account(live, trader, typed_account_id="U1")
    assert refused.value.code == code


def test_schedule_by_a_user_with_a_device_who_logged_in_without_a_code_is_refused(plain_account, clock, trader):
    clock("2026-11-25 08:00")
    new_device(trader)
    with pytest.raises(Refused) as refused:
        schedule_account(plain_account(), trader)
    assert refused.value.code == "code_needed"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda: Account.objects.update(live_armed=False), "live_not_armed"),
        (lambda: Account.objects.update(trading_paused=True), "trading_paused"),
        (lambda: TradingControl.objects.create(trading_paused=True), "trading_paused"),
    ],
)
def test_schedule_of_an_account_that_may_not_trade_now_is_refused(live, trader, change, code):
    change()
    with pytest.raises(Refused) as refused:
        schedule_account(Account.objects.get(), trader, typed_account_id="U1")
    assert refused.value.code == code


def confirm_page(client):
    return client.get(reverse("trading:schedule_confirm", args=["U1"]))


def test_live_account_is_not_scheduled_without_its_number(live, trader, client):
    client.force_login(trader)
    answer = client.post(reverse("trading:schedule_add", args=["U1"]))
    assert answer.url == reverse("trading:schedule_confirm", args=["U1"])
    assert not ScheduleEntry.objects.exists()
    client.post(reverse("trading:schedule_add", args=["U1"]), {"account_id": "U1"})
    assert ScheduleEntry.objects.get().requester_verified is False


@pytest.mark.parametrize("required", ["live", "execute"])
def test_live_account_is_not_scheduled_by_a_user_without_the_required_device(live, trader, client, settings, required):
    settings.ONE_TIME_CODES_REQUIRED_FOR = required
    client.force_login(trader)
    assert confirm_page(client).context["refusal"].code == "code_device_needed"
    client.post(reverse("trading:schedule_add", args=["U1"]), {"account_id": "U1"})
    assert not ScheduleEntry.objects.exists()


def test_account_page_leads_to_the_confirmation_after_the_preview(live, trader, client):
    client.force_login(trader)
    page = client.get(reverse("trading:account", args=["U1"])).content.decode()
    assert f'action="{reverse("trading:schedule_add", args=["U1"])}"' not in page
    assert page.index(reverse("trading:preview", args=["U1"])) < page.index(
        reverse("trading:schedule_confirm", args=["U1"])
    )


@SENDS
@pytest.mark.parametrize("kind", ["paper", "live"])
def test_confirmation_offers_a_preview_and_then_shows_its_orders_and_the_start(
    make_account, clock, trader, client, settings, kind
):
    clock("2026-11-25 08:00")
    settings.TRADING_MODE, settings.ALLOW_LIVE_TRADING = kind, kind == "live"
    make_account(type=kind, live_armed=kind == "live")
    client.force_login(trader)
    page = confirm_page(client)
    assert page.context["preview_state"] == "none"
    assert 'id="schedule-orders"' not in page.content.decode()
    client.post(reverse("trading:schedule_preview", args=["U1"]))
    page = confirm_page(client)
    assert page.context["preview_state"] == "in_progress" and "hx-get" in page.content.decode()
    preview = RebalanceRun.objects.get()
    work_slot(preview.connection_id)
    page = confirm_page(client)
    html = page.content.decode()
    assert page.context["preview_state"] == "current"
    assert [row.symbol for row in page.context["plan"]["buys"]] == ["SPY", "IEF"]
    assert "Wed 25 Nov 2026, 09:30 New York time" in html and 'id="schedule-orders"' in html
    assert ('name="account_id"' in html) is (kind == "live")
    assert "market_closed" not in [guard["code"] for guard in page.context["failed_checks"]]
    assert not Order.objects.exists() and not ScheduleEntry.objects.exists()
    RebalanceRun.objects.update(finished_at=database_now() - timedelta(minutes=6))
    page = confirm_page(client)
    assert page.context["preview_state"] == "old"
    assert 'id="schedule-orders"' not in page.content.decode()


@SENDS
def test_schedule_page_shows_what_would_trade_and_cancels_there(make_account, clock, trader, client):
    clock("2026-11-25 08:00")
    account = make_account()
    preview = carry_out(account, ExecCommand.PRINT_REBALANCE)
    schedule_account(account, trader)
    client.force_login(trader)
    page = client.get(reverse("trading:schedule"))
    (row,) = page.context["waiting"]
    assert (row["plan"].run_id, row["plan"].sells, row["plan"].buys) == (preview.run_id, 0, 2)
    assert "preview" in page.content.decode()
    answer = client.post(reverse("trading:schedule_remove", args=["U1"]), {"from": "schedule"})
    assert answer.url == reverse("trading:schedule")
    assert ScheduleEntry.objects.get().state == "removed"


def change_targets(account):
    account.strategy.targets.filter(symbol="SPY").update(weight="0.5")


def change_broker(account):
    account.broker = "ibkr"
    account.save()


OUTDATED = [
    (lambda _: RebalanceRun.objects.update(finished_at=database_now() - timedelta(minutes=6)), "old"),
    (queue, "old"),
    (change_targets, "old"),
    (lambda _: RebalancePolicy.objects.update(max_turnover_percent=51), "old"),
    (lambda _: Account.objects.update(account_id="U1", type="live"), "none"),
    (change_broker, "none"),
]


@SENDS
@pytest.mark.parametrize(("outdate", "state"), OUTDATED)
def test_only_a_current_preview_is_what_the_account_would_trade(
    make_account, clock, trader, client, settings, outdate, state
):
    clock("2026-11-25 08:00")
    account = make_account()
    carry_out(account, ExecCommand.PRINT_REBALANCE)
    client.force_login(trader)
    page = confirm_page(client)
    assert page.context["preview_state"] == "current" and "Orders if it ran now" in page.content.decode()
    schedule_account(account, trader)
    outdate(account)
    (row,) = client.get(reverse("trading:schedule")).context["waiting"]
    page = confirm_page(client)
    assert (row["plan"], page.context["preview_state"]) == (None, state)
    assert "if it ran now" not in page.content.decode()
    assert ("Orders of the preview of" in page.content.decode()) is (state == "old")


def started(clock):
    """Start what is scheduled, execute it, and return the entry with its run."""
    clock("2026-11-25 09:30:05")
    run_schedule(timezone.now())
    for run in RebalanceRun.objects.all():
        work_slot(run.connection_id)
    return ScheduleEntry.objects.select_related("run").order_by("id")[0]


@SENDS
@pytest.mark.parametrize("change", ["rights", "inactive", "codes"])
def test_scheduled_run_whose_user_lost_the_rights_meanwhile_is_refused_and_not_retried(
    make_account, clock, trader, settings, change
):
    clock("2026-11-25 08:00")
    schedule_account(make_account(), trader)
    if change == "rights":
        trader.user_permissions.clear()
    elif change == "inactive":
        User.objects.update(is_active=False)
    else:
        settings.ONE_TIME_CODES_REQUIRED_FOR = "execute"
    entry = started(clock)
    assert (entry.state, entry.run.error_code) == ("failed", "requester_rights")
    assert not Order.objects.exists() and not SimulatedOrder.objects.exists()
    assert ScheduleEntry.objects.count() == 1


def test_scheduled_run_of_a_deleted_user_is_not_started(plain_account, clock, trader):
    clock("2026-11-25 08:00")
    schedule_account(plain_account(), trader)
    trader.delete()
    entry = started(clock)
    assert (entry.state, entry.run, ScheduleEntry.objects.count()) == ("failed", None, 1)


@SENDS
def test_scheduled_run_keeps_the_verification_of_its_user(make_account, clock, trader, settings):
    settings.ONE_TIME_CODES_REQUIRED_FOR = "execute"
    clock("2026-11-25 08:00")
    mark_verified(trader)
    schedule_account(make_account(), trader)
    entry = started(clock)
    assert (entry.state, entry.run.state, entry.run.requester_verified) == ("completed", "completed", True)
