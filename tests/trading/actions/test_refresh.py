"""A refresh reads one account at the broker, under the lease of its slot, or says why it could not."""

import pytest
from django.contrib.auth.models import Permission, User
from django.urls import reverse
from django_q.models import OrmQ

from brokers.simulated.models import SimulatedAccount, SimulatedFault
from trading.actions.refresh import request_refresh
from trading.errors import Refused
from trading.journal.leases import claim_lease
from trading.models import AccountRefresh, AccountStanding, AccountValue, Order
from trading.tasks import refresh_account

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def trader():
    user = User.objects.create_user("trader", password="pw")
    user.user_permissions.set(Permission.objects.filter(codename__in=["preview_account", "view_account"]))
    return User.objects.get(pk=user.pk)


def outcome(account):
    return AccountRefresh.objects.get(account=account)


def test_refresh_reads_the_account_now(make_account, trader):
    account = make_account(cash="1000", positions={"SPY": "100"})
    request_refresh(account, trader)
    assert outcome(account).is_pending and outcome(account).requested_by == trader
    assert OrmQ.objects.count() == 1
    refresh_account(account.pk)
    assert (outcome(account).is_pending, outcome(account).error_code) == (False, "")
    standing = AccountStanding.objects.get()
    assert (standing.state, standing.cash_usd) == ("outside", 1000)
    assert {one["symbol"]: one["quantity"] for one in standing.snapshot["positions"]} == {"SPY": "100.00000000"}
    assert AccountValue.objects.count() == 1 and not Order.objects.exists()
    SimulatedAccount.objects.update(cash_usd=2000)
    request_refresh(account, trader)
    refresh_account(account.pk)
    assert AccountStanding.objects.get().cash_usd == 2000


def test_task_without_a_request_reads_nothing(make_account, trader):
    """The queue delivers a task at least once."""
    account = make_account()
    assert refresh_account(account.pk) == "not requested"
    request_refresh(account, trader)
    assert (refresh_account(account.pk), refresh_account(account.pk)) == ("", "not requested")
    assert AccountValue.objects.count() == 1


@pytest.mark.parametrize(
    ("fields", "code"), [({"enabled": False}, "account_disabled"), ({"type": "live"}, "wrong_environment")]
)
def test_request_of_an_account_that_cannot_be_read_here_is_refused(make_account, trader, fields, code):
    with pytest.raises(Refused) as refusal:
        request_refresh(make_account(**fields), trader)
    assert refusal.value.code == code and not AccountRefresh.objects.exists()


def test_request_without_the_permission_or_while_the_slot_is_busy_is_refused(make_account, trader):
    account = make_account()
    with pytest.raises(Refused) as refusal:
        request_refresh(account, User.objects.create_user("nobody"))
    assert refusal.value.code == "not_permitted"
    claim_lease(account.connection_id, "a run")
    with pytest.raises(Refused) as refusal:
        request_refresh(account, trader)
    assert refusal.value.code == "connection_busy" and not AccountRefresh.objects.exists()


@pytest.mark.parametrize(
    ("kind", "code"), [("connect_refused", "broker_unreachable"), ("incomplete", "incomplete_account_data")]
)
def test_refresh_that_the_broker_does_not_answer_keeps_the_reason(make_account, trader, kind, code):
    account = make_account()
    SimulatedFault.objects.create(kind=kind, account_id="U1" if kind == "incomplete" else "")
    request_refresh(account, trader)
    assert refresh_account(account.pk) == code
    assert (outcome(account).is_pending, outcome(account).error_code) == (False, code)
    assert outcome(account).error_message and not AccountStanding.objects.exists()


def test_refresh_whose_slot_became_busy_says_so(make_account, trader):
    account = make_account()
    request_refresh(account, trader)
    claim_lease(account.connection_id, "a run")
    assert refresh_account(account.pk) == "connection_busy"
    assert outcome(account).error_code == "connection_busy"


def test_button_posts_and_returns_to_the_account(make_account, trader, client):
    account = make_account()
    address = reverse("trading:refresh_account", args=[account.account_id])
    client.force_login(trader)
    assert client.get(address).status_code == 405
    answer = client.post(address)
    assert (answer.status_code, answer["Location"]) == (302, reverse("trading:account", args=["U1"]))
    assert outcome(account).is_pending
