"""Runs that a user, a kill switch or a change of rights stops: what was not sent, and the run that finishes it."""

import asyncio

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import Permission, User
from django.db import OperationalError
from django.utils import timezone

from accounts.models import Account
from brokers.simulated.client import SimulatedBroker
from tests.support.makers import carry_out, held, policy, queue, work_run
from trading.engine.rebalance import Rebalancer
from trading.models import EventSource, ExecutedSession, Order, RebalanceRun, TradingControl
from trading.orders import execution
from trading.queue import shutdown

pytestmark = pytest.mark.django_db(transaction=True)

SELLS_FIRST = {"positions": {"VTI": "100"}, "cash": "0"}
"""The account has to sell VTI before it can buy SPY and IEF."""


def pause_trading() -> None:
    TradingControl.objects.update_or_create(pk=1, defaults={"trading_paused": True, "reason": "Odd quotes"})


def resume_trading() -> None:
    TradingControl.objects.update(trading_paused=False)


def stop_runs() -> None:
    RebalanceRun.objects.update(stop_requested_at=timezone.now())


@pytest.fixture
def after_sells(monkeypatch):
    """Calls a function once, after the sells of a run and before its buys."""

    def arrange(action):
        original, actions = execution.OrderPhase.execute, [action]

        async def execute(self, orders):
            done = await original(self, orders)
            if actions:
                await sync_to_async(actions.pop())()
            return done

        monkeypatch.setattr(execution.OrderPhase, "execute", execute)

    return arrange


@pytest.mark.parametrize(
    ("action", "code"),
    [
        (stop_runs, "run_stopped"),
        (pause_trading, "trading_paused"),
        (lambda: Account.objects.update(trading_paused=True), "trading_paused"),
        (lambda: Account.objects.update(enabled=False), "account_disabled"),
        (lambda: Account.objects.get().strategy.__class__.objects.update(enabled=False), "no_strategy"),
        (lambda: Account.objects.update(strategy=None), "no_strategy"),
        (lambda: Account.objects.update(type="live"), "wrong_environment"),
    ],
)
def test_run_stopped_between_sells_and_buys_ends_stopped_and_names_what_is_left(
    make_account, after_sells, action, code
):
    account = make_account(**SELLS_FIRST)
    after_sells(action)
    run = carry_out(account)
    assert (run.state, run.error_code) == ("stopped", code)
    assert set(held("U1")) == set()
    buys = run.orders.filter(quantity__gt=0)
    assert set(buys.values_list("state", "submitted_at")) == {("cancelled", None)}
    assert {warning["code"] for warning in run.warnings} == {"order_not_sent"}
    assert all(f"BUY {order.shares.normalize():f} {order.symbol}" in run.error_message for order in buys)
    assert len(run.report["weights_after"]) == 1, "cash only"


def test_run_after_a_stopped_one_finishes_the_rebalance_of_the_session(make_account, after_sells):
    """PDT protection allows one rebalance per session; the stopped run and the next one are the same rebalance."""
    account = make_account(trade_guard=Account.TradeGuard.ONCE_PER_SESSION, **SELLS_FIRST)
    after_sells(stop_runs)
    assert carry_out(account).state == "stopped"
    assert carry_out(account).state == "completed"
    assert set(held("U1")) == {"SPY", "IEF"}
    assert carry_out(account).error_code == "trade_guard", "the session has its one rebalance now"


def test_run_stopped_before_its_first_order_sends_nothing_and_does_not_count_for_the_session(make_account):
    account = make_account(trade_guard=Account.TradeGuard.ONCE_PER_SESSION)
    run = queue(account)
    stop_runs()
    run = work_run(run)
    assert (run.state, run.error_code) == ("stopped", "run_stopped")
    assert not ExecutedSession.objects.exists()
    assert carry_out(account).state == "completed"


def test_orders_of_a_phase_after_the_kill_switch_are_cancelled_and_never_sent(make_account, monkeypatch):
    """The kill switch is turned on while the first order of the phase is being placed."""
    original = SimulatedBroker.place_order

    async def pause_and_place(self, *args, **kwargs):
        await sync_to_async(pause_trading)()
        return await original(self, *args, **kwargs)

    monkeypatch.setattr(SimulatedBroker, "place_order", pause_and_place)
    account = make_account(targets=[(symbol, "0.2") for symbol in ("SPY", "IEF", "GLD", "VTI")])
    run = carry_out(account)
    assert (run.state, run.error_code) == ("stopped", "trading_paused")
    assert sorted(run.orders.values_list("state", flat=True)) == ["cancelled"] * 3 + ["filled"]
    assert Order.objects.filter(submitted_at__isnull=False).count() == 1
    assert len(held("U1")) == 1


def test_run_of_a_user_who_lost_the_permission_is_refused_before_its_first_order(make_account):
    user = User.objects.create_user("tess", password="pw")
    user.user_permissions.set(Permission.objects.filter(codename="execute_account"))
    account = make_account(**SELLS_FIRST)
    run = queue(account, source=EventSource.ADMIN, requested_by=user)
    user.user_permissions.clear()
    run = work_run(run)
    assert (run.state, run.error_code) == ("refused", "requester_rights")
    assert set(held("U1")) == {"VTI"}


@pytest.mark.parametrize("change", [{"is_active": False}, "delete", "clear"])
def test_run_whose_requester_loses_the_rights_after_the_sells_is_stopped(make_account, after_sells, change):
    user = User.objects.create_user("tess", password="pw")
    user.user_permissions.set(Permission.objects.filter(codename="execute_account"))

    def lose_rights() -> None:
        if change == "delete":
            user.delete()
        elif change == "clear":
            user.user_permissions.clear()
        else:
            User.objects.update(**change)

    after_sells(lose_rights)
    run = carry_out(make_account(**SELLS_FIRST), source=EventSource.ADMIN, requested_by=user)
    assert (run.state, run.error_code) == ("stopped", "requester_rights")
    assert held("U1") == {}


def test_policy_change_after_the_first_order_does_not_change_the_run(make_account, after_sells):
    own = policy("own")
    account = make_account(policy=own, **SELLS_FIRST)
    after_sells(lambda: policy("own", minimum_cash_reserve_usd=15_000))
    run = carry_out(account)
    assert (run.state, run.policy["minimum_cash_reserve_usd"]) == ("completed", "0.00")


def test_run_that_is_paused_while_it_waits_for_another_worker_ends_stopped(make_account, monkeypatch):
    """Its worker ended between the sells and the buys; all its orders are resolved."""
    account = make_account(**SELLS_FIRST)
    run = queue(account)

    async def end_here(self, *_):
        raise OperationalError

    with monkeypatch.context() as patch:
        patch.setattr(Rebalancer, "_buy", end_here)
        work_run(run)
    pause_trading()
    run = work_run(run)
    assert (run.state, run.error_code) == ("stopped", "trading_paused")
    assert held("U1") == {}
    resume_trading()
    assert carry_out(account).state == "completed"


def test_orders_that_wait_for_their_turn_when_the_worker_stops_are_not_sent(make_account, monkeypatch):
    """The worker gets its stop signal while the first of four orders is placed. Another one plans again."""
    original, requests = SimulatedBroker.place_order, []

    def watch():
        requests.append(shutdown.StopRequest(asyncio.Event()))
        return requests[-1]

    async def wait_for_turn(self):
        await asyncio.sleep(0.1)

    async def place_order(self, *args, **kwargs):
        if len(requests) == 1:
            requests[0].event.set()
        return await original(self, *args, **kwargs)

    monkeypatch.setattr(shutdown, "watch", watch)
    monkeypatch.setattr(SimulatedBroker, "wait_for_turn", wait_for_turn)
    monkeypatch.setattr(SimulatedBroker, "place_order", place_order)
    run = queue(make_account(targets=[(symbol, "0.2") for symbol in ("SPY", "IEF", "GLD", "VTI")]))
    work_run(run)
    never_sent = run.orders.filter(submitted_at__isnull=True)
    assert set(never_sent.values_list("state", flat=True)) == {"cancelled"}
    assert 2 <= never_sent.count() <= 3
    run = work_run(run)
    assert run.state == "completed", run.error_message
    assert set(held("U1")) == {"SPY", "IEF", "GLD", "VTI"}
