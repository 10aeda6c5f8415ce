"""The kill switch by command: stored in the change history and reported."""

from io import StringIO

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from accounts.models import Account
from tests.support.makers import policy, simulated_account
from trading.models import Notification, TradingControl

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
