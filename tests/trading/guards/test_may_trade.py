"""The predicate "may this order leave now": its checks, its one query, and every entry point that asks it."""

import uuid
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.utils import timezone

from accounts.models import Account, Strategy
from brokers.exchange_calendar import ExchangeCalendar
from tests.support.makers import policy, queue, simulated_account, strategy
from trading.access.two_factor import mark_verified
from trading.actions.previews import execute_preview
from trading.errors import AccountChanged, Deferred, Refused
from trading.guards.may_trade import check_order, read_facts
from trading.inbox.receive import receive_event
from trading.market_calendar import AlwaysOpenCalendar
from trading.models import EventSource, Notification, RebalanceRun, TradingControl
from trading.planning.run_context import make_run_context

pytestmark = pytest.mark.django_db

CLOSED_AT = datetime(2026, 11, 26, 17, tzinfo=UTC)
"""A time on Thanksgiving."""
XNYS = ExchangeCalendar("XNYS")


def trader(*codenames: str, name: str = "tess") -> User:
    user = User.objects.create_user(name, password="pw")
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames or ("execute_account",)))
    return User.objects.get(pk=user.pk)


@pytest.fixture
def run():
    account = simulated_account("U1", {"SPY": "1"}, policy=policy("own"))
    return queue(account, source=EventSource.ADMIN, requested_by=trader())


def check(run, context=None, *, has_sent=True, calendar=None, now=None):
    now = now or timezone.now()
    session = (calendar or AlwaysOpenCalendar()).session_of(now)
    check_order(context or make_run_context(run), session, now, has_sent=has_sent)


def test_order_of_an_account_that_may_trade_passes(run):
    check(run, has_sent=False)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda: TradingControl.objects.create(trading_paused=True), "trading_paused"),
        (lambda: Account.objects.update(trading_paused=True), "trading_paused"),
        (lambda: RebalanceRun.objects.update(stop_requested_at=timezone.now()), "run_stopped"),
        (lambda: Account.objects.update(enabled=False), "account_disabled"),
        (lambda: Account.objects.update(strategy=None), "no_strategy"),
        (lambda: Strategy.objects.update(enabled=False), "no_strategy"),
        (lambda: Account.objects.update(strategy=strategy("other", {"SPY": "1"})), "strategy_changed"),
        (lambda: Account.objects.update(type="live"), "wrong_environment"),
        (lambda: User.objects.update(is_active=False), "requester_rights"),
        (lambda: User.user_permissions.through.objects.all().delete(), "requester_rights"),
        (lambda: User.objects.all().delete(), "requester_rights"),
    ],
)
@pytest.mark.parametrize("has_sent", [False, True])
def test_order_is_refused_by_the_current_rows(run, change, code, has_sent):
    context = make_run_context(run)
    change()
    with pytest.raises(Refused) as refused:
        check(run, context, has_sent=has_sent)
    assert refused.value.code == code


@pytest.mark.parametrize(
    ("fields", "allowed", "rights", "code"),
    [
        ({"live_armed": True}, True, ("execute_account", "execute_live_account"), None),
        ({"live_armed": False}, True, ("execute_account", "execute_live_account"), "live_not_armed"),
        ({"live_armed": True}, False, ("execute_account", "execute_live_account"), "live_not_allowed"),
        ({"live_armed": True}, True, ("execute_account",), "requester_rights"),
        ({"live_armed": True}, True, ("execute_live_account",), "requester_rights"),
    ],
)
def test_live_order_needs_both_keys_and_both_permissions(run, settings, fields, allowed, rights, code):
    settings.TRADING_MODE, settings.ALLOW_LIVE_TRADING = "live", allowed
    Account.objects.update(type="live", **fields)
    User.objects.get().user_permissions.set(Permission.objects.filter(codename__in=rights))
    if code is None:
        check(run)
        return
    with pytest.raises(Refused) as refused:
        check(run)
    assert refused.value.code == code


def test_permission_of_a_group_and_of_a_superuser_count(run):
    user = User.objects.get()
    user.user_permissions.clear()
    group = Group.objects.create(name="traders")
    group.permissions.set(Permission.objects.filter(codename="execute_account"))
    user.groups.add(group)
    check(run)
    user.groups.clear()
    User.objects.update(is_superuser=True)
    check(run)


@pytest.mark.parametrize(("verified", "passes"), [(True, True), (False, False)])
def test_order_needs_the_verification_that_the_account_requires_now(run, settings, verified, passes):
    RebalanceRun.objects.update(requester_verified=verified)
    settings.ONE_TIME_CODES_REQUIRED_FOR = "execute"
    if passes:
        check(run)
        return
    with pytest.raises(Refused) as refused:
        check(run)
    assert refused.value.code == "requester_rights"


def test_order_after_the_close_waits_for_the_next_session_unless_a_user_waits(run):
    with pytest.raises(Refused) as refused:
        check(run, calendar=XNYS, now=CLOSED_AT)
    assert refused.value.code == "market_closed"
    run.event.source = EventSource.ABLY
    with pytest.raises(Deferred) as deferred:
        check(run, calendar=XNYS, now=CLOSED_AT)
    assert deferred.value.not_before == datetime(2026, 11, 27, 14, 30, tzinfo=UTC), "09:30 New York time"


def test_changed_setting_makes_a_new_plan_before_the_first_order_only(run):
    context = make_run_context(run)
    policy("own", minimum_cash_reserve_usd=5)
    with pytest.raises(AccountChanged, match="minimum cash reserve usd 0 → 5"):
        check(run, context, has_sent=False)
    check(run, context, has_sent=True)


def test_check_of_an_order_is_one_query(run, django_assert_num_queries):
    context = make_run_context(run)
    with django_assert_num_queries(1):
        check(run, context)


def test_run_keeps_the_name_and_the_verification_of_its_user(run):
    user = User.objects.get()
    mark_verified(user)
    other = queue(Account.objects.get(), source=EventSource.ADMIN, requested_by=user)
    assert (other.requester_name, other.requester_verified) == ("tess", True)
    assert (run.requester_name, run.requester_verified) == ("tess", False)
    user.delete()
    assert read_facts(other.pk).requester.may_execute is False


# ---- entry points


@pytest.mark.parametrize("source", [EventSource.ABLY, EventSource.API, EventSource.COMMAND, EventSource.SCHEDULE])
def test_event_of_a_paused_account_is_refused_at_once_and_reported(source):
    account = simulated_account("U1", {"SPY": "1"}, trading_paused=True)
    event = receive_event(
        source=source,
        channel=account.strategy.name,
        message_id=str(uuid.uuid4()),
        payload={"exec": "rebalance"},
    )
    run = event.runs.get()
    assert (run.state, run.error_code) == ("refused", "trading_paused")
    assert Notification.objects.filter(run=run).count() == 1


def test_event_of_a_user_queues_only_the_accounts_that_the_user_may_execute(settings):
    """The strategy has accounts with and without the two-factor requirement."""
    settings.TRADING_MODE, settings.ALLOW_LIVE_TRADING = "live", True
    shared = strategy("shared", {"SPY": "1"})
    for account_id in ("U1", "U2"):
        simulated_account(account_id, {}, strategy=shared, type="live", live_armed=True)
    Account.objects.filter(account_id="U2").update(live_armed=False)
    payload = {"exec": "rebalance"}
    user = trader("execute_account")
    event = receive_event(source=EventSource.API, channel="shared", message_id="1", payload=payload, requested_by=user)
    codes = dict(event.runs.values_list("account__account_id", "error_code"))
    assert codes == {"U1": "requester_rights", "U2": "live_not_armed"}
    user = trader("execute_account", "execute_live_account", name="ann")
    event = receive_event(source=EventSource.API, channel="shared", message_id="2", payload=payload, requested_by=user)
    states = dict(event.runs.values_list("account__account_id", "state"))
    assert states == {"U1": "queued", "U2": "refused"}


def test_approval_of_a_preview_is_refused_while_trading_is_paused_and_possible_after():
    account = simulated_account("U1", {"SPY": "1"})
    preview = queue(account, "print-rebalance")
    RebalanceRun.objects.update(
        state="completed",
        result={"trades": [1]},
        plan_hash="p",
        plan_expires_at=timezone.now() + timedelta(minutes=1),
    )
    preview.refresh_from_db()
    user = trader()
    Account.objects.update(trading_paused=True)
    preview.account.refresh_from_db()
    with pytest.raises(Refused) as refused:
        execute_preview(preview, user, plan_hash="p")
    assert refused.value.code == "trading_paused"
    Account.objects.update(trading_paused=False)
    preview.account.refresh_from_db()
    assert execute_preview(preview, user, plan_hash="p").state == "queued"
