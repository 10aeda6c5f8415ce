"""A token and a plan that waits for a person: a scope of its own, and never the user who requested the plan."""

from decimal import Decimal

import pytest

from tests.support.makers import carry_out, policy
from trading.access.api_tokens import create_token
from trading.models import EventSource, EventState, RebalanceRun, StrategyEvent
from trading.models.run_documents import ExecCommand

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def held_account(make_account):
    """An account whose every plan waits for approval."""
    return make_account(policy=policy(max_turnover_percent=Decimal(0)))


def execute(caller, plan):
    status, answer = caller.post(f"/runs/{plan.run_id}/execute", {"plan_hash": plan.plan_hash})
    return status, answer.get("code")


@pytest.mark.parametrize("command", [ExecCommand.REBALANCE, ExecCommand.PRINT_REBALANCE])
def test_held_plan_needs_the_scope_approve(held_account, call, command):
    plan = carry_out(held_account, command, source=EventSource.SCHEDULE)
    assert execute(call("execute", "read", "preview", "events"), plan) == (403, "scope_missing")
    assert execute(call("approve"), plan) == (403, "scope_missing")
    assert not RebalanceRun.objects.filter(approved_preview=plan).exists()
    assert execute(call("execute", "approve"), plan) == (202, None)


@pytest.mark.parametrize("command", [ExecCommand.REBALANCE, ExecCommand.PRINT_REBALANCE])
def test_owner_of_the_token_who_requested_the_plan_is_refused(held_account, call, owner, command):
    plan = carry_out(held_account, command, source=EventSource.API, requested_by=owner)
    assert execute(call("execute", "approve"), plan) == (403, "approver_is_requester")
    assert not RebalanceRun.objects.filter(approved_preview=plan).exists()


def test_preview_of_a_late_event_needs_the_scope_approve(make_account, call):
    plan = carry_out(make_account(), ExecCommand.PRINT_REBALANCE, source=EventSource.ABLY)
    StrategyEvent.objects.update(state=EventState.LATE)
    assert execute(call("execute"), plan) == (403, "scope_missing")
    assert execute(call("execute", "approve"), plan) == (202, None)


def test_preview_within_the_limits_needs_the_scope_execute_only(make_account, call, owner):
    plan = carry_out(make_account(), ExecCommand.PRINT_REBALANCE, source=EventSource.API, requested_by=owner)
    assert execute(call("execute"), plan) == (202, None)


def test_token_from_before_has_no_scope_approve(owner):
    row, _ = create_token("old", owner, ["read", "preview", "execute", "events"], days=1)
    assert "approve" not in row.scopes


def test_waiting_plans_are_listed_with_what_they_trade_and_why(held_account, call):
    plan = carry_out(held_account, source=EventSource.SCHEDULE)
    status, answer = call("read").get("/approvals")
    (listed,) = answer["approvals"]
    assert (status, listed["run_id"], listed["account_id"]) == (200, plan.run_id, "U1")
    assert (listed["plan_hash"], listed["sells"], listed["buys"]) == (plan.plan_hash, 0, 2)
    assert [reason["code"] for reason in listed["reasons"]] == ["turnover_limit"]
    assert Decimal(listed["buy_value"]) > 0


def decline(caller, plan, **body):
    status, answer = caller.post(f"/runs/{plan.run_id}/decline", body)
    return status, answer.get("code")


def test_decline_needs_the_scope_approve_and_is_final(held_account, call, owner):
    plan = carry_out(held_account, source=EventSource.SCHEDULE)
    assert decline(call("execute"), plan) == (403, "scope_missing")
    assert decline(call("approve"), plan, note="x" * 501) == (422, "request_invalid")
    assert decline(call("approve"), plan, note="Too much at once") == (200, None)
    assert decline(call("approve"), plan, note="Again") == (200, None)
    assert execute(call("execute", "approve"), plan) == (409, "plan_declined")
    plan.refresh_from_db()
    assert (plan.declined_by, plan.decline_note) == (owner, "Too much at once")
    assert call("read").get("/approvals") == (200, {"approvals": []})


def test_owner_of_the_token_who_requested_a_plan_may_withdraw_it(held_account, call, owner):
    plan = carry_out(held_account, source=EventSource.API, requested_by=owner)
    assert decline(call("approve"), plan) == (200, None)


def test_plan_that_does_not_wait_cannot_be_declined(make_account, call):
    plan = carry_out(make_account(), ExecCommand.PRINT_REBALANCE, source=EventSource.SCHEDULE)
    assert decline(call("approve"), plan) == (409, "not_waiting")
