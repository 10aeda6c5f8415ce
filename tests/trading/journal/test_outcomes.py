"""The outcome of a run: decided once, from its state, its plan and its orders."""

from decimal import Decimal
from types import SimpleNamespace

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.urls import reverse
from django.utils import timezone

from brokers.simulated.faults import Kind, set_fault
from tests.support.makers import carry_out, policy, queue, work_run
from trading.journal import outcomes
from trading.journal.missing_outcomes import UNREADABLE, write_missing_outcomes
from trading.journal.outcomes import decide_outcome, orders_text, rewrite_outcomes, summarize, trade_progress
from trading.journal.runs import request_stop
from trading.management.commands.rebalance import EXIT_CODES
from trading.management.text_output import run_text
from trading.models import Notification, Order, RebalanceRun
from trading.models.run_documents import ExecCommand
from trading.schedule.sweeper import sweep
from trading.serializers import rebalance_result
from trading.templatetags.page_parts import run_chip

PLAN = {
    "trades": [
        {"symbol": "VTI", "quantity": -10, "price": "99"},
        {"symbol": "BND", "quantity": 20, "price": "51"},
    ],
    "plan": {"total_value_usd": "10000"},
}
SOLD = {"symbol": "VTI", "quantity": -10, "filled": -10, "state": "filled"}
BOUGHT = {"symbol": "BND", "quantity": 20, "filled": 20, "state": "filled"}


def make_run(*orders, plan=PLAN, **fields):
    """Return what the function reads of a run, with orders in the order in which they were sent."""
    rows = [
        SimpleNamespace(
            sequence=number,
            symbol=order["symbol"],
            state=order["state"],
            filled_quantity=Decimal(order.get("filled", 0)),
            submitted_at=timezone.now() if order.get("sent", True) else None,
        )
        for number, order in enumerate(orders, 1)
    ]
    defaults = {"state": "completed", "mode": "execute", "error_code": "", "stop_requested_at": None, "result": plan}
    run = SimpleNamespace(**defaults | {"policy": {"allocation_threshold_percent": "0.5"}, "report": {}} | fields)
    return run, rows


@pytest.mark.parametrize(
    ("fields", "orders", "outcome", "undone"),
    [
        ({}, (SOLD, BOUGHT), "done", []),
        ({"plan": {"trades": []}}, (), "nothing_to_do", []),
        ({"plan": {"trades": []}}, (SOLD,), "done", []),  # a resumed run that found nothing more to do
        ({}, (SOLD | {"state": "rejected", "filled": 0}, BOUGHT), "partly_done", ["rejected"]),
        ({}, (SOLD, BOUGHT | {"state": "cancelled", "filled": 5}), "partly_done", ["not_filled"]),
        ({}, (SOLD, BOUGHT | {"state": "expired", "filled": 0}), "partly_done", ["not_filled"]),
        ({}, (SOLD,), "partly_done", ["not_sent"]),
        ({}, (SOLD, {"symbol": "BND", "state": "filled", "filled": 19}), "partly_done", ["reduced"]),  # by $51
        ({"policy": {"allocation_threshold_percent": "1"}}, (SOLD, {**BOUGHT, "filled": 19}), "done", []),  # of $100
        ({}, (SOLD | {"state": "cancelled", "filled": 0},), "failed", ["not_filled", "not_sent"]),
        ({}, (), "failed", ["not_sent", "not_sent"]),
        (
            {"stop_requested_at": 1},
            (SOLD | {"state": "cancelled", "filled": 0},),
            "stopped",
            ["not_filled", "not_sent"],
        ),
        ({"stop_requested_at": 1}, (SOLD, BOUGHT), "done", []),  # too late to stop anything
        ({"stop_requested_at": 1}, (SOLD, BOUGHT | {"state": "rejected", "filled": 0}), "partly_done", ["rejected"]),
        ({"state": "stopped", "error_code": "run_stopped"}, (), "stopped", ["not_sent", "not_sent"]),
        ({"state": "stopped", "error_code": "trading_paused"}, (SOLD,), "stopped", ["not_sent"]),
        ({"state": "stopped", "error_code": "broker_unreachable"}, (SOLD,), "partly_done", ["not_sent"]),
        ({"state": "failed", "error_code": "all_orders_rejected"}, (), "failed", ["not_sent", "not_sent"]),
        ({"state": "failed", "error_code": "resolved_manually"}, (SOLD, BOUGHT), "partly_done", []),
        ({"state": "refused"}, (), "refused", ["not_sent", "not_sent"]),
        ({"state": "deferred"}, (), "deferred", ["not_sent", "not_sent"]),
        (
            {"state": "needs_attention"},
            (SOLD | {"state": "unknown", "filled": 0},),
            "needs_attention",
            ["not_sent", "unknown"],
        ),
        ({"state": "queued", "plan": {}}, (), "", []),
        ({"state": "running"}, (SOLD,), "", ["not_sent"]),
        ({"state": "superseded", "plan": {}}, (), "", []),
        ({"mode": "preview"}, (), "done", ["not_sent", "not_sent"]),
        ({"mode": "preview", "plan": {"trades": []}}, (), "nothing_to_do", []),
        ({"mode": "preview", "state": "failed", "plan": {}}, (), "failed", []),
        # An order of an interrupted attempt was not sent; the next attempt sent it again.
        ({}, (SOLD | {"state": "cancelled", "filled": 0, "sent": False}, SOLD, BOUGHT), "done", []),
        ({}, (SOLD | {"state": "lost", "filled": 0}, SOLD, BOUGHT), "done", []),
    ],
)
def test_decide_outcome_follows_the_plan_and_its_orders(fields, orders, outcome, undone):
    run, rows = make_run(*orders, **fields)
    trades = trade_progress(run, rows)
    assert decide_outcome(run, trades) == outcome
    assert sorted(trade.undone for trade in trades if trade.undone) == undone


def test_summarize_counts_the_trades_of_the_plan_and_includes_cash_in_the_drift():
    weights = {"VTI": "0.5", "BND": "0.3", "$CASH": "0.2"}
    plan = PLAN | {"target_weights": {"VTI": "0.4", "BND": "0.58", "$CASH": "0.02"}, "before": {"weights": weights}}
    run, rows = make_run(SOLD, plan=plan, report={"weights_after": {"VTI": "0.4", "BND": "0.3", "$CASH": "0.3"}})
    rows[0].average_price_usd = Decimal("99.5")
    summary = summarize(run, rows, trade_progress(run, rows))
    assert summary == {
        "planned": 2,
        "filled": 1,
        "undone": {"not_sent": 1},
        "amount_usd": "995.00",
        "drift_before_pp": "28.0000",
        "drift_after_pp": "28.0000",
    }
    run.report = {}
    assert summarize(run, rows, trade_progress(run, rows))["drift_after_pp"] is None


def assert_is_nowhere_green(run, admin_client, *, outcome: str) -> None:
    """Assert that page, lists, API, command and message agree on an outcome, and that none shows it as done."""
    assert (run.outcome, rebalance_result(run).outcome) == (outcome, outcome)
    assert "rb-good" not in run_chip(run) and "Completed" not in run_chip(run)
    for address in (reverse("trading:run", args=[run.run_id]), reverse("trading:runs"), "/"):
        assert run_chip(run) in admin_client.get(address).content.decode()
    assert admin_client.get(reverse("trading:run_json", args=[run.run_id])).json()["outcome"] == outcome
    assert "Completed" not in run_text(run)
    message = Notification.objects.get(run=run)
    assert message.kind != "success" and "completed" not in message.title


@pytest.mark.django_db(transaction=True)
def test_run_with_a_rejected_largest_sell_is_partly_done_everywhere(make_account, admin_client):
    account = make_account(positions={"VTI": "100", "QQQ": "5"}, cash="0")
    set_fault(Kind.REJECT, symbol="VTI", message="201 - Order rejected")
    run = carry_out(account)
    assert run.state == "completed"
    assert_is_nowhere_green(run, admin_client, outcome="partly_done")
    assert run.summary["undone"]["rejected"] == 1
    assert f"{run.summary['filled']} of 4 orders filled" in orders_text(run)


@pytest.mark.django_db(transaction=True)
def test_run_that_a_person_stopped_unfilled_is_stopped_everywhere(make_account, admin_client):
    run = queue(make_account(cash="100000"))
    request_stop(run.pk, "alice")
    carried = work_run(run)
    assert_is_nowhere_green(carried, admin_client, outcome="stopped")
    assert carried.stop_requester_name == "alice"
    assert "Stopped by alice." in Notification.objects.get(run=carried).body


@pytest.mark.django_db(transaction=True)
def test_run_without_trades_is_no_warning_and_not_done(make_account):
    account = make_account(targets={"SPY": "1"}, policy=policy(allocation_threshold_percent=Decimal(5)))
    carry_out(account)
    run = carry_out(account)
    assert (run.outcome, run.summary["planned"]) == ("nothing_to_do", 0)
    assert Notification.objects.get(run=run).kind == "success"


@pytest.mark.django_db(transaction=True)
def test_late_fill_of_a_finished_run_changes_its_outcome(make_account):
    account = make_account(policy=policy(order_timeout_seconds=1))
    set_fault(Kind.PARTIAL, symbol="IEF", number=0.5)
    run = carry_out(account)
    assert (run.outcome, run.summary["filled"]) == ("partly_done", 1)
    order = run.orders.get(symbol="IEF")
    Order.objects.filter(pk=order.pk).update(state="filled", filled_quantity=order.quantity)
    rewrite_outcomes([run.pk])
    run.refresh_from_db()
    assert (run.outcome, run.summary["filled"]) == ("done", 2)


@pytest.mark.django_db(transaction=True)
def test_run_whose_unknown_orders_are_resolved_asks_to_be_closed(make_account):
    run = carry_out(make_account())
    RebalanceRun.objects.filter(pk=run.pk).update(state="needs_attention", error_code="orders_unknown")
    run.orders.filter(symbol="IEF").update(state="unknown")
    rewrite_outcomes([run.pk])
    run.refresh_from_db()
    assert run.error_message != outcomes.ORDERS_RESOLVED
    run.orders.filter(symbol="IEF").update(state="lost")
    rewrite_outcomes([run.pk])
    run.refresh_from_db()
    assert (run.outcome, run.error_message) == ("needs_attention", outcomes.ORDERS_RESOLVED)


@pytest.mark.django_db(transaction=True)
def test_preview_is_done_and_its_chip_is_not_green(make_account):
    run = carry_out(make_account(), ExecCommand.PRINT_REBALANCE)
    assert (run.outcome, run.summary["planned"], run.summary["filled"]) == ("done", 2, 0)
    assert "rb-good" not in run_chip(run)


@pytest.mark.django_db(transaction=True)
def test_migration_fills_the_outcome_of_stored_runs(make_account):
    account = make_account()
    set_fault(Kind.REJECT, symbol="SPY", message="201 - Order rejected")
    partly = carry_out(account)
    preview = carry_out(account, ExecCommand.PRINT_REBALANCE)
    stopped = queue(account)
    request_stop(stopped.pk, "alice")
    stopped = work_run(stopped)
    expected = {run.run_id: (run.outcome, run.summary, run.stop_requester_name) for run in (partly, preview, stopped)}
    assert {outcome for outcome, *_ in expected.values()} == {"partly_done", "done", "stopped"}
    executor = MigrationExecutor(connection)
    try:
        executor.migrate([("trading", "0017_access_protection")])
    finally:
        executor = MigrationExecutor(connection)
        executor.migrate(executor.loader.graph.leaf_nodes())
    stored = RebalanceRun.objects.filter(run_id__in=expected)
    assert {run.run_id: (run.outcome, run.summary, run.stop_requester_name) for run in stored} == expected


ODD = [
    {"result": {"trades": [{"symbol": "A", "quantity": 1, "price": None}]}},
    {"result": {"trades": [{"symbol": "A", "quantity": 1}]}},
    {"result": {"trades": [], "plan": {"sells": [{"symbol": "A", "quantity": -1}]}}, "mode": "preview"},
    {"report": {"weights_after": [["A", "0.5"]]}},
    {"policy": {"allocation_threshold_percent": None}},
]


@pytest.mark.django_db(transaction=True)
def test_migration_passes_over_odd_runs(make_account):
    account = make_account()
    runs = [carry_out(account, ExecCommand.PRINT_REBALANCE) for _ in range(3)]
    good, odd, attention = runs
    expected = good.outcome, good.summary
    RebalanceRun.objects.filter(pk__in=(odd.pk, attention.pk)).update(result={"trades": [{"symbol": "A"}]})
    RebalanceRun.objects.filter(pk=attention.pk).update(state="needs_attention")
    executor = MigrationExecutor(connection)
    try:
        executor.migrate([("trading", "0020_approval_inbox")])
    finally:
        executor = MigrationExecutor(connection)
        executor.migrate(executor.loader.graph.leaf_nodes())
    for run in runs:
        run.refresh_from_db()
    assert (good.outcome, good.summary) == expected
    assert (odd.outcome, attention.outcome) == ("", "needs_attention")


@pytest.mark.django_db
@pytest.mark.parametrize("change", ODD)
def test_sweep_decides_missing_outcomes_whatever_is_stored(make_account, change):
    account = make_account()
    run, odd = carry_out(account), carry_out(account)
    superseded = carry_out(account)
    expected = run.outcome, run.summary
    RebalanceRun.objects.filter(pk=run.pk).update(outcome="deferred", summary={})
    RebalanceRun.objects.filter(pk=odd.pk).update(outcome="", summary={}, **change)
    RebalanceRun.objects.filter(pk=superseded.pk).update(outcome="", summary={}, state="superseded")
    sweep()
    for one in (run, odd, superseded):
        one.refresh_from_db()
    assert (run.outcome, run.summary) == expected
    assert (odd.outcome, odd.summary, superseded.summary) == ("", UNREADABLE, {})
    assert write_missing_outcomes() == 0
    assert EXIT_CODES[odd.outcome or odd.state] == 0


@pytest.mark.django_db
def test_run_without_outcome_is_among_those_that_need_attention(make_account, admin_client):
    run = carry_out(make_account())
    RebalanceRun.objects.filter(pk=run.pk).update(outcome="", state="needs_attention")
    page = admin_client.get(reverse("trading:runs"), {"state": "attention"})
    assert [row.pk for row in page.context["page"].rows] == [run.pk]
    RebalanceRun.objects.filter(pk=run.pk).update(outcome="needs_attention", state="completed")
    page = admin_client.get(reverse("trading:runs"), {"state": "attention"})
    assert [row.pk for row in page.context["page"].rows] == [run.pk]


@pytest.mark.django_db(transaction=True)
def test_run_ends_and_asks_for_attention_when_its_outcome_cannot_be_decided(make_account, monkeypatch):
    def fail(run):
        raise ValueError("an odd document")

    monkeypatch.setattr(outcomes, "set_outcome", fail)
    run = carry_out(make_account())
    assert (run.state, run.outcome) == ("completed", "needs_attention")
