from django.http import HttpRequest
from ninja import Status

from accounts.models import Account
from accounts.refusal_text import quoted
from trading.actions.approvals import decline_plan
from trading.actions.previews import (
    PREVIEW_PERMISSION,
    execute_preview,
    refuse_own_approval,
    request_preview,
    request_stop,
    waits_for_approval,
)
from trading.api.auth import Bearer, authenticate_owner, check_scope, token_of
from trading.api.read_endpoints import find_or_404, find_run, router
from trading.api.schemas import (
    CONFLICT,
    ERRORS,
    AccountId,
    Approval,
    Decline,
    EventIn,
    EventLine,
    Refusal,
    RunId,
    event_response,
)
from trading.errors import EventRejected
from trading.guards.may_trade import EXECUTE_LIVE_PERMISSION, EXECUTE_PERMISSION
from trading.inbox.receive import receive_event
from trading.models import ApiScope, ApiToken, EventSource, EventState, RebalanceRun
from trading.models.run_documents import ExecCommand, RebalanceResult
from trading.serializers import rebalance_result

QUEUED = {202: RebalanceResult, **ERRORS, **CONFLICT}
DECLINED = {200: RebalanceResult, **ERRORS, **CONFLICT}
RECEIVED = {200: EventLine, 202: EventLine, **ERRORS, **CONFLICT}
PREVIEWS = Bearer(ApiScope.PREVIEW, PREVIEW_PERMISSION)
SUBMITS = Bearer(ApiScope.EVENTS, PREVIEW_PERMISSION)
EXECUTES = Bearer(ApiScope.EXECUTE, EXECUTE_PERMISSION)
APPROVES = Bearer(ApiScope.APPROVE, EXECUTE_PERMISSION)


@router.post("/accounts/{account_id}/preview", auth=PREVIEWS, response=QUEUED, operation_id="preview", tags=["runs"])
def preview(request: HttpRequest, account_id: AccountId) -> Status[RebalanceResult]:
    """Queue a preview. Poll its run until it is finished."""
    account = find_or_404(Account.objects.with_followed_strategy(), "unknown_account", account_id=account_id)
    run = request_preview(account, authenticate_owner(token_of(request)), source=EventSource.API)
    return Status(202, rebalance_result(run))


@router.post("/runs/{run_id}/execute", auth=EXECUTES, response=QUEUED, operation_id="execute", tags=["runs"])
def execute(request: HttpRequest, run_id: RunId, approval: Approval) -> Status[RebalanceResult]:
    """Queue the execution of a preview's plan. Repeating the call returns the same run."""
    plan = find_run(run_id)
    _check_approval(token_of(request), plan)
    run = execute_preview(
        plan,
        authenticate_owner(token_of(request)),
        plan_hash=approval.plan_hash,
        typed_account_id=approval.account_id,
        source=EventSource.API,
    )
    return Status(202, rebalance_result(run))


@router.post("/runs/{run_id}/decline", auth=APPROVES, response=DECLINED, operation_id="decline", tags=["runs"])
def decline(request: HttpRequest, run_id: RunId, answer: Decline) -> RebalanceResult:
    """Decline a plan that waits for approval. Repeating the call returns the same run."""
    plan = decline_plan(find_run(run_id), authenticate_owner(token_of(request)), answer.note)
    return rebalance_result(plan)


@router.post("/runs/{run_id}/stop", auth=EXECUTES, response=QUEUED, operation_id="stop", tags=["runs"])
def stop(request: HttpRequest, run_id: RunId) -> Status[RebalanceResult]:
    """Stop a run: no further orders are submitted. Orders already submitted remain active and are tracked."""
    run = find_run(run_id)
    request_stop(run, authenticate_owner(token_of(request)))
    return Status(202, rebalance_result(run))


@router.post("/events", auth=SUBMITS, response=RECEIVED, operation_id="submit_event", tags=["events"])
def submit_event(request: HttpRequest, event: EventIn) -> Status[EventLine]:
    """Submit an event, exactly once: 202 for a new message, 200 for a message that was already received."""
    if request.GET:  # an account in the address would be ignored, and the event concern all accounts
        raise Refusal(422, "request_invalid", f"Unknown query parameter {quoted(next(iter(request.GET)))}.")
    token = token_of(request)
    if event.payload.get("exec") != ExecCommand.PRINT_REBALANCE:
        # Anything but a preview requires the scope and permissions of orders.
        check_scope(token, ApiScope.EXECUTE, EXECUTE_PERMISSION)
        check_scope(token, ApiScope.EXECUTE, EXECUTE_LIVE_PERMISSION if _concerns_live(event) else EXECUTE_PERMISSION)
    stored = receive_event(
        source=EventSource.API,
        channel=event.channel,
        message_id=event.message_id,
        payload=event.payload,
        requested_by=authenticate_owner(token),
    )
    if stored.state == EventState.REJECTED:
        raise EventRejected(stored.reason_code, stored.reason)
    return Status(200 if stored.duplicates else 202, event_response(stored))


def _check_approval(token: ApiToken, plan: RebalanceRun) -> None:
    """Refuse a plan that waits for a person, unless the token may approve it and its owner did not request it."""
    if waits_for_approval(plan):
        check_scope(token, ApiScope.APPROVE, EXECUTE_PERMISSION)
        refuse_own_approval(plan, token.owner)


def _concerns_live(event: EventIn) -> bool:
    return Account.objects.following(event.channel.replace("\x00", "")).filter(type=Account.Type.LIVE).exists()
