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
