"""The kill switch by command: stored in the change history and reported."""

from io import StringIO

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.core.management.base import CommandError
from django.urls import reverse

from accounts.models import Account
from tests.support.makers import policy, queue, simulated_account
from trading.models import Notification, RebalanceRun, TradingControl
from trading.models.run_documents import ExecCommand

pytestmark = pytest.mark.django_db


def run(*arguments):
    out = StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue()


def test_pause_and_resume_all_accounts_store_the_reason_and_notify():
    assert run("pause", "--reason", "Odd quotes") == "Trading paused for all accounts.\n"
    control = TradingControl.objects.get()
    assert (control.trading_paused, control.reason) == (True, "Odd quotes")
    assert control.history.latest().history_change_reason == "by command: Odd quotes"
    assert run("pause") == "Trading was already paused for all accounts.\n"
    assert run("resume") == "Trading resumed for all accounts.\n"
    assert not TradingControl.objects.get().trading_paused
    assert list(Notification.objects.order_by("id").values_list("title", flat=True)) == [
        "Trading paused",
        "Trading resumed",
    ]


def test_pause_one_account_does_not_pause_the_others():
    for account_id in ("U1", "U2"):
        simulated_account(account_id, {"SPY": "1"}, policy=policy())
    run("pause", "U1", "--reason", "Transfer")
    assert dict(Account.objects.values_list("account_id", "trading_paused")) == {"U1": True, "U2": False}
    assert Account.objects.get(account_id="U1").history.latest().history_change_reason == "by command: Transfer"
    assert not TradingControl.objects.filter(trading_paused=True).exists()


def test_pause_unknown_account_fails_and_pauses_nothing():
    with pytest.raises(CommandError) as error:
        run("pause", "nobody")
    assert error.value.returncode == 2
    assert not TradingControl.objects.exists()


@pytest.fixture
def running_runs():
    """A running rebalance of each of two accounts, and a running preview."""
    runs = {}
    for account_id in ("U1", "U2"):
        account = simulated_account(account_id, {"SPY": "1"}, policy=policy())
        runs[account_id] = queue(account)
    runs["preview"] = queue(account, ExecCommand.PRINT_REBALANCE)
    RebalanceRun.objects.update(state="running")
    return runs


def asked_to_cancel():
    return set(
        RebalanceRun.objects.filter(cancel_requested_at__isnull=False).values_list("account__account_id", flat=True)
    )


@pytest.mark.parametrize(("arguments", "accounts"), [((), {"U1", "U2"}), (("U1",), {"U1"})])
def test_pause_with_cancel_orders_asks_the_runs_in_progress_to_cancel(running_runs, arguments, accounts):
    run("pause", *arguments, "--cancel-orders")
    assert asked_to_cancel() == accounts
    assert RebalanceRun.objects.get(mode="preview").cancel_requested_at is None


def test_pause_without_cancel_orders_leaves_working_orders_active(running_runs):
    run("pause")
    assert asked_to_cancel() == set()
    run("pause", "--cancel-orders")
    assert asked_to_cancel() == {"U1", "U2"}, "also when trading was paused before"


def test_trading_control_form_cancels_working_orders_only_while_it_pauses(
    running_runs, admin_client, django_capture_on_commit_callbacks
):
    TradingControl.objects.create(pk=1)
    address = reverse("admin:trading_tradingcontrol_change", args=[1])
    admin_client.post(address, {"reason": "", "cancel_orders": "on"})
    assert asked_to_cancel() == set()
    with django_capture_on_commit_callbacks(execute=True):
        admin_client.post(address, {"trading_paused": "on", "reason": "Odd quotes", "cancel_orders": "on"})
    assert TradingControl.objects.get().trading_paused
    assert asked_to_cancel() == {"U1", "U2"}


def test_stop_and_cancel_button_needs_the_permission_and_asks_one_run(running_runs, admin_client, client):
    address = reverse("trading:stop_and_cancel", args=[running_runs["U1"].run_id])
    client.force_login(User.objects.create_user("vera", password="pw", is_staff=True))
    client.post(address)
    assert asked_to_cancel() == set()
    admin_client.post(address)
    assert asked_to_cancel() == {"U1"}
    assert running_runs["U1"].timeline.filter(code="cancel_requested").exists()
