from collections.abc import Sequence
from typing import TypeVar

from django.db.models import Model, QuerySet
from django.http import HttpRequest
from ninja import Router

from accounts.models import Account, Strategy
from trading.actions.approvals import waiting_plan, waiting_plans
from trading.actions.preview_state import preview_state
from trading.actions.previews import VIEW_PERMISSION
from trading.api.auth import Bearer, authenticate_owner, token_of
from trading.api.schemas import (
    ERRORS,
    AccountId,
    AccountLine,
    AccountList,
    ApprovalList,
    EventId,
    EventLine,
    EventList,
    Limit,
    Offset,
    PreviewStateLine,
    Refusal,
    RunDetail,
    RunId,
    RunList,
    StrategyLine,
    StrategyList,
    StrategyName,
    TargetLine,
    event_response,
)
from trading.models import ApiScope, RebalanceRun, RunMode, StrategyEvent
from trading.monitoring.accounts import account_summaries
from trading.serializers import rebalance_result

Row = TypeVar("Row", bound=Model)
SETTINGS = ("name", "type", "trading_paused", "live_armed", "trade_guard")
"""Settings of an account that its summary does not contain."""
router = Router(auth=Bearer(ApiScope.READ, VIEW_PERMISSION))


def find_or_404(rows: QuerySet[Row], code: str, **key: object) -> Row:
    """Return the row with this key.

    Raises:
        Refusal: 404 with the code `unknown_<kind of row>`, there is no such row.
    """
    found = rows.filter(**key).first()
    if found is None:
        raise Refusal(404, code, f"There is no {code.removeprefix('unknown_')} {next(iter(key.values()))!r}.")
    return found


def find_run(run_id: str) -> RebalanceRun:
    """Return the run with this id, or raise as `find_or_404` does."""
    return find_or_404(RebalanceRun.objects.select_related("account", "event"), "unknown_run", run_id=run_id)


def _accounts() -> QuerySet[Account]:
    return Account.objects.with_followed_strategy().select_related("standing")


def _account_lines(accounts: Sequence[Account]) -> tuple[AccountLine, ...]:
    return tuple(
        AccountLine(
            **dict(summary),
            **{name: getattr(account, name) for name in SETTINGS},
            # Former names of the same values.
            total_value=summary.value_usd,
            cash_balance=summary.cash_usd,
            valued_at=summary.standing.as_of,
        )
        for account, summary in zip(accounts, account_summaries(accounts), strict=True)
    )


def _run_list(runs: QuerySet[RebalanceRun], limit: int, offset: int) -> RunList:
    rows = runs.select_related("account").prefetch_related("orders").order_by("-id")[offset : offset + limit]
    return RunList(runs=tuple(map(rebalance_result, rows)))


def _strategy_line(strategy: Strategy) -> StrategyLine:
    return StrategyLine(
        name=strategy.name,
        title=strategy.title,
        source=strategy.source,
        enabled=strategy.enabled,
        targets=tuple(TargetLine(symbol=target.symbol, weight=target.weight) for target in strategy.targets.all()),
        accounts=tuple(account.account_id for account in strategy.accounts.all()),
    )


@router.get("/accounts", response={200: AccountList, **ERRORS}, operation_id="list_accounts", tags=["accounts"])
def list_accounts(request: HttpRequest, limit: Limit = 50, offset: Offset = 0) -> AccountList:
    """List accounts, sorted by account id."""
    page = _accounts().order_by("account_id")[offset : offset + limit]
    return AccountList(accounts=_account_lines(list(page)))


@router.get("/accounts/{account_id}", response={200: AccountLine, **ERRORS}, operation_id="account", tags=["accounts"])
def one_account(request: HttpRequest, account_id: AccountId) -> AccountLine:
    """Return an account."""
    return _account_lines([find_or_404(_accounts(), "unknown_account", account_id=account_id)])[0]


@router.get("/strategies", response={200: StrategyList, **ERRORS}, operation_id="list_strategies", tags=["strategies"])
def list_strategies(request: HttpRequest, limit: Limit = 50, offset: Offset = 0) -> StrategyList:
    """List strategies, sorted by name."""
    page = Strategy.objects.prefetch_related("targets", "accounts").order_by("name")[offset : offset + limit]
    return StrategyList(strategies=tuple(map(_strategy_line, page)))


@router.get("/strategies/{name}", response={200: StrategyLine, **ERRORS}, operation_id="strategy", tags=["strategies"])
def one_strategy(request: HttpRequest, name: StrategyName) -> StrategyLine:
    """Return a strategy."""
    return _strategy_line(find_or_404(Strategy.objects.all(), "unknown_strategy", name=name))


@router.get("/runs", response={200: RunList, **ERRORS}, operation_id="list_runs", tags=["runs"])
def list_runs(request: HttpRequest, limit: Limit = 50, offset: Offset = 0) -> RunList:
    """List runs, newest first."""
    return _run_list(RebalanceRun.objects.all(), limit, offset)


@router.get("/accounts/{account_id}/runs", response={200: RunList, **ERRORS}, operation_id="runs_of", tags=["runs"])
def list_runs_of(request: HttpRequest, account_id: AccountId, limit: Limit = 50, offset: Offset = 0) -> RunList:
    """List the runs of an account, newest first."""
    account = find_or_404(Account.objects.all(), "unknown_account", account_id=account_id)
    return _run_list(account.runs.all(), limit, offset)


@router.get("/approvals", response={200: ApprovalList, **ERRORS}, operation_id="list_approvals", tags=["runs"])
def list_approvals(request: HttpRequest, limit: Limit = 50, offset: Offset = 0) -> ApprovalList:
    """List the plans that wait for approval, the next to expire first."""
    return ApprovalList(approvals=tuple(map(waiting_plan, waiting_plans()[offset : offset + limit])))


@router.get("/runs/{run_id}", response={200: RunDetail, **ERRORS}, operation_id="run", tags=["runs"])
def one_run(request: HttpRequest, run_id: RunId) -> RunDetail:
    """Return a run with its trades and orders, and the state of its plan."""
    run = find_run(run_id)
    line = None
    if run.mode == RunMode.PREVIEW or run.is_held:
        state = preview_state(run, authenticate_owner(token_of(request)))
        line = PreviewStateLine(state=state.state, message=state.message, valid_until=state.valid_until)
    return RunDetail(**dict(rebalance_result(run)), preview_state=line)


@router.get("/events", response={200: EventList, **ERRORS}, operation_id="list_events", tags=["events"])
def list_events(request: HttpRequest, limit: Limit = 50, offset: Offset = 0) -> EventList:
    """List events, newest first."""
    page = StrategyEvent.objects.prefetch_related("runs__account").order_by("-id")[offset : offset + limit]
    return EventList(events=tuple(map(event_response, page)))


@router.get("/events/{event_id}", response={200: EventLine, **ERRORS}, operation_id="event", tags=["events"])
def one_event(request: HttpRequest, event_id: EventId) -> EventLine:
    """Return an event."""
    return event_response(find_or_404(StrategyEvent.objects.all(), "unknown_event", pk=event_id))
