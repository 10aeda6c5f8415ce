"""Pages of previews and runs: one state for each plan, and nothing that did not happen shown as done."""

import re
from datetime import timedelta
from decimal import Decimal

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import Permission, User
from django.urls import reverse
from django.utils import timezone

from accounts.models import Account, RebalancePolicy, ReplacementRule, ReplacementSet
from brokers.simulated.client import SimulatedBroker
from brokers.simulated.faults import Kind, set_fault
from calculator import Commission
from tests.support.makers import carry_out, policy, strategy, work_run
from trading.actions.preview_state import preview_state
from trading.actions.previews import execute_preview, execution_refusal
from trading.journal.runs import cancel_queued, request_stop
from trading.models import RebalanceRun, TradingControl
from trading.models.run_documents import ExecCommand
from trading.orders.execution import OrderPhase

pytestmark = pytest.mark.django_db(transaction=True)
PREVIEW = ExecCommand.PRINT_REBALANCE


def shown(text):
    """The part of a page that a reader sees: without what is announced when a run ends."""
    return re.sub(r'data-announcement="[^"]*"', "", text)


@pytest.fixture
def trader(db):
    return User.objects.create_superuser("tina", password="pw")


@pytest.fixture
def read(client, trader):
    client.force_login(trader)
    return lambda run: client.get(reverse("trading:run", args=[run.run_id])).content.decode()


def expire(preview, trader):
    RebalanceRun.objects.filter(pk=preview.pk).update(plan_expires_at=timezone.now() - timedelta(seconds=1))


def send(preview, trader):
    work_run(execute_preview(preview, trader, plan_hash=preview.plan_hash))


def send_moved(preview, trader):
    run = execute_preview(preview, trader, plan_hash=preview.plan_hash)
    preview.account.strategy.targets.filter(symbol="SPY").update(weight=Decimal("0.5"))
    assert work_run(run).state == "refused"


def send_and_cancel(preview, trader):
    run = execute_preview(preview, trader, plan_hash=preview.plan_hash)
    assert cancel_queued(run.pk, "alice")
    other = User.objects.create_superuser("olga", password="pw")
    refusal = execution_refusal(RebalanceRun.objects.get(pk=preview.pk), other)
    assert refusal.code == "already_executed" and "without sending an order" in refusal.message


def change_targets(preview, trader):
    preview.account.strategy.targets.filter(symbol="SPY").update(weight=Decimal("0.5"))


def change_rules(preview, trader):
    rules = ReplacementSet.objects.create(name="set")
    ReplacementRule.objects.create(replacement_set=rules, source="SPY", target="VOO")
    Account.objects.update(replacement_set=rules)


def change_strategy(preview, trader):
    Account.objects.update(strategy=strategy("other", {"SPY": "1"}))


def change_number(preview, trader):
    Account.objects.update(account_id="U77")


def pause(preview, trader):
    TradingControl.objects.create(trading_paused=True, reason="Odd quotes")


def replace(preview, trader):
    carry_out(preview.account, PREVIEW)


def take_rights(preview, trader):
    User.objects.update(is_superuser=False)
    codenames = ("view_account", "preview_account")
    trader.user_permissions.set(Permission.objects.filter(codename__in=codenames))


@pytest.mark.parametrize(
    ("arrange", "state", "can_send"),
    [
        (None, "ready", True),
        (take_rights, "ready", False),
        (expire, "expired", False),
        (send, "sent", False),
        (lambda preview, trader: execute_preview(preview, trader, plan_hash=preview.plan_hash), "sent", False),
        (send_moved, "rejected", False),
        (pause, "blocked", False),
        (send_and_cancel, "rejected", False),
        (replace, "superseded", False),
        (change_targets, "superseded", False),
        (lambda *_: RebalancePolicy.objects.update(max_turnover_percent=51), "superseded", False),
        (change_rules, "superseded", False),
        (change_strategy, "superseded", False),
        (change_number, "superseded", False),
    ],
)
def test_preview_has_exactly_one_state(make_account, trader, read, arrange, state, can_send):
    preview = carry_out(make_account(positions={"VTI": "30"}, cash="20000"), PREVIEW)
    if arrange is not None:
        arrange(preview, trader)
    preview, person = RebalanceRun.objects.get(pk=preview.pk), User.objects.get(pk=trader.pk)
    found = preview_state(preview, person)
    assert (found.state, found.can_be_sent) == (state, can_send)
    text = read(preview)
    assert re.findall(r'data-state="(\w+)"', text) == [state]
    assert ("exactly these orders" in text, 'id="submit-orders"' in text) == (can_send, can_send)
    assert 'id="validity"' in text and "data-expires-at=" in text if state == "ready" else 'id="validity"' not in text
    assert not ("Sent by" in text and ("Nothing has been traded" in text or "Nothing was sent" in text))
    assert shown(text).count(found.message) == 1


def test_preview_without_trades_says_so_once(make_account, trader, read):
    account = make_account(targets={"SPY": "1"}, policy=policy(allocation_threshold_percent=Decimal(5)))
    carry_out(account)
    preview = carry_out(account, PREVIEW)
    assert preview_state(preview, trader).state == "nothing_to_trade"
    assert 'data-state="nothing_to_trade"' in read(preview)


def test_preview_that_waits_for_approval_has_that_state(make_account, trader, read):
    preview = carry_out(make_account(policy=policy(max_turnover_percent=Decimal(1))), PREVIEW)
    found = preview_state(preview, trader)
    assert (found.state, found.valid_until, found.can_be_sent) == ("waiting_for_approval", preview.approval_until, True)
    assert "✕" not in read(preview)


@pytest.mark.parametrize("kind", ["paper", "live"])
def test_preview_blocked_by_the_closed_exchange_offers_the_next_open(make_account, trader, read, settings, kind):
    settings.TRADING_MODE, settings.ALLOW_LIVE_TRADING = kind, kind == "live"
    preview = carry_out(make_account(type=kind, live_armed=kind == "live"), PREVIEW)
    closed = {"code": "market_closed", "passed": False, "message": "The exchange opens on Monday.", "not_before": None}
    guards = [guard for guard in preview.guards if guard["code"] != "market_closed"]
    RebalanceRun.objects.filter(pk=preview.pk).update(guards=[*guards, closed])
    text = read(preview)
    assert re.findall(r'data-state="(\w+)"', text) == ["blocked"]
    assert shown(text).count("The exchange opens on Monday.") == 1
    assert f'href="{reverse("trading:schedule_confirm", args=["U1"])}"' in text
    other = closed | {"code": "sell_not_feasible", "message": "No."}
    RebalanceRun.objects.filter(pk=preview.pk).update(guards=[*guards, other])
    assert reverse("trading:schedule_confirm", args=["U1"]) not in read(preview)


def steps_of(text):
    return re.findall(r'<li class="(?:rb-)?(\w*)"[^>]*>\s*<span>', text.split("rb-steps", 1)[1].split("</ol>", 1)[0])


def test_page_of_a_rejected_sell_ticks_no_step_that_did_not_happen(make_account, read):
    account = make_account(positions={"VTI": "100", "QQQ": "5"}, cash="0")
    set_fault(Kind.REJECT, symbol="VTI", message="201 - Order rejected")
    run = carry_out(account)
    text = read(run)
    assert steps_of(text)[4] == "halted" and steps_of(text)[6] == "halted"
    announcement = re.search(r'data-announcement="([^"]*)"', text).group(1)
    assert "Partly done" in announcement and "Completed" not in announcement
    assert 'id="finish"' in text and reverse("trading:preview", args=["U1"]) in text
    rejected = re.search(r"<tr[^>]*>(?:(?!</tr>).)*rb-order-rejected.*?</tr>", text, flags=re.DOTALL).group(0)
    assert "≈" not in rejected  # no price at which nothing was filled


def test_page_of_a_stopped_run_counts_the_orders_of_the_plan(make_account, read, monkeypatch):
    execute = OrderPhase.execute

    async def stop_first(self, orders):
        await sync_to_async(lambda: request_stop(RebalanceRun.objects.get().pk, "alice"))()
        return await execute(self, orders)

    monkeypatch.setattr(OrderPhase, "execute", stop_first)
    run = carry_out(make_account(positions={"VTI": "30"}, cash="20000"))
    text = read(run)
    assert (run.outcome, run.summary["filled"], run.summary["planned"]) == ("stopped", 0, 3)
    assert 'max="3" value="0"' in text and "Stopped by alice." in text and 'id="finish"' in text
    assert "planned (not reached)" in text and "Weights: before → after" not in text
    assert "done" not in steps_of(text)[4:]


def test_page_of_a_run_that_needs_attention_marks_its_weights_as_planned(make_account, read):
    run = carry_out(make_account(positions={"VTI": "30"}, cash="20000"))
    RebalanceRun.objects.update(state="needs_attention", outcome="needs_attention", report={})
    text = read(run)
    assert "planned (not reached)" in text and "Weights: now" not in text


def test_preview_page_explains_targets_and_commissions(make_account, read):
    account = make_account(
        cash_reserve_percent=Decimal(2), policy=policy(commission_kind="rate", commission_rate="0.01")
    )
    text = read(carry_out(account, PREVIEW))
    assert "60% \N{MULTIPLICATION SIGN} 98%" in text and "58.8%" in text
    found = re.search(r"set aside for commissions ≈ \$([\d,.]+)", text).group(1)
    assert Decimal(found.replace(",", "")) > 900


def test_new_policy_starts_with_the_usual_commission_of_the_broker(make_account):
    make_account()
    made, stored = RebalancePolicy(name="new"), RebalancePolicy.objects.get(is_default=True)
    usual = SimulatedBroker.usual_commission
    assert (made.commission_kind, made.commission_per_share_usd) == (usual.kind, usual.per_share)
    assert stored.commission_kind == "per_share"


def test_new_policy_starts_without_the_connector_of_most_accounts(make_account):
    make_account()
    Account.objects.update(broker="gone")
    assert RebalancePolicy(name="new").commission_kind == Commission().kind


def test_csv_has_plain_numbers(make_account, client, trader):
    client.force_login(trader)
    run = carry_out(make_account(positions={"VTI": "30"}, cash="20000"))
    run.orders.filter(symbol="VTI").update(quantity=Decimal("-3E+1"), filled_quantity=0, commission_usd=Decimal("0E-8"))
    text = client.get(reverse("trading:trades_csv", args=[run.run_id])).content.decode()
    assert not re.search(r"\dE[+-]?\d", text) and ",-30,0," in text
    assert client.get(reverse("trading:run_json", args=[run.run_id])).json()["outcome"]


def test_lists_have_times_and_figures(make_account, client, trader):
    client.force_login(trader)
    run = carry_out(make_account())
    text = client.get(reverse("trading:runs")).content.decode()
    assert "2 of 2" in text and "<time" in text
    cell = text.rsplit("<tbody>", 1)[1].split("<time", 1)[0].rsplit("<td", 1)[1]
    assert "rb-narrow" not in cell  # shown on a phone, too
    assert run.run_id in client.get(reverse("trading:events")).content.decode()
