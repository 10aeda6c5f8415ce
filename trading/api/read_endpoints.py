"""Read endpoints: accounts, strategies, runs and events."""

from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest
from ninja import Router

from accounts.models import Account, Strategy
from trading.actions.previews import VIEW_PERMISSION
from trading.api.auth import Bearer
from trading.api.schemas import (
    ERRORS,
    AccountId,
    AccountLine,
    AccountList,
    EventId,
    EventLine,
    EventList,
    Limit,
    Offset,
    Refusal,
    RunId,
    RunList,
    StrategyLine,
    StrategyList,
    StrategyName,
    TargetLine,
    event_response,
)
from trading.models import AccountValue, ApiScope, RebalanceRun, StrategyEvent
from trading.models.run_documents import RebalanceResult
from trading.serializers import rebalance_result

router = Router(auth=Bearer(ApiScope.READ, VIEW_PERMISSION))


def _accounts() -> QuerySet[Account]:
    latest = AccountValue.objects.filter(account=OuterRef("pk")).order_by("-at")
    return Account.objects.select_related("strategy").annotate(
        latest_value=Subquery(latest.values("total_value_usd")[:1]),
        latest_cash=Subquery(latest.values("cash_usd")[:1]),
        valued_at=Subquery(latest.values("at")[:1]),
    )


def _account_line(account: Account) -> AccountLine:
    return AccountLine(
        account_id=account.account_id,
        name=account.name,
        broker=account.broker,
        type=account.type,
        enabled=account.enabled,
        trading_paused=account.trading_paused,
        live_armed=account.live_armed,
        strategy=account.strategy.name if account.strategy else None,
        trade_guard=account.trade_guard,
        total_value=getattr(account, "latest_value", None),
        cash_balance=getattr(account, "latest_cash", None),
        valued_at=getattr(account, "valued_at", None),
    )


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
    return AccountList(accounts=tuple(map(_account_line, page)))


@router.get("/accounts/{account_id}", response={200: AccountLine, **ERRORS}, operation_id="account", tags=["accounts"])
def one_account(request: HttpRequest, account_id: AccountId) -> AccountLine:
    """Return an account."""
    found = _accounts().filter(account_id=account_id).first()
    if found is None:
        raise Refusal(404, "unknown_account", f"There is no account {account_id!r}.")
    return _account_line(found)


@router.get("/strategies", response={200: StrategyList, **ERRORS}, operation_id="list_strategies", tags=["strategies"])
def list_strategies(request: HttpRequest, limit: Limit = 50, offset: Offset = 0) -> StrategyList:
    """List strategies, sorted by name."""
    page = Strategy.objects.prefetch_related("targets", "accounts").order_by("name")[offset : offset + limit]
    return StrategyList(strategies=tuple(map(_strategy_line, page)))


@router.get("/strategies/{name}", response={200: StrategyLine, **ERRORS}, operation_id="strategy", tags=["strategies"])
def one_strategy(request: HttpRequest, name: StrategyName) -> StrategyLine:
    """Return a strategy."""
    found = Strategy.objects.filter(name=name).first()
    if found is None:
        raise Refusal(404, "unknown_strategy", f"There is no strategy {name!r}.")
    return _strategy_line(found)


@router.get("/runs", response={200: RunList, **ERRORS}, operation_id="list_runs", tags=["runs"])
def list_runs(request: HttpRequest, limit: Limit = 50, offset: Offset = 0) -> RunList:
    """List runs, newest first."""
    runs = RebalanceRun.objects.select_related("account").prefetch_related("orders").order_by("-id")
    return RunList(runs=tuple(map(rebalance_result, runs[offset : offset + limit])))


@router.get("/accounts/{account_id}/runs", response={200: RunList, **ERRORS}, operation_id="runs_of", tags=["runs"])
def list_runs_of(request: HttpRequest, account_id: AccountId, limit: Limit = 50, offset: Offset = 0) -> RunList:
    """List the runs of an account, newest first."""
    if not Account.objects.filter(account_id=account_id).exists():
        raise Refusal(404, "unknown_account", f"There is no account {account_id!r}.")
    runs = RebalanceRun.objects.filter(account__account_id=account_id)
    page = runs.select_related("account").prefetch_related("orders").order_by("-id")[offset : offset + limit]
    return RunList(runs=tuple(map(rebalance_result, page)))


@router.get("/runs/{run_id}", response={200: RebalanceResult, **ERRORS}, operation_id="run", tags=["runs"])
def one_run(request: HttpRequest, run_id: RunId) -> RebalanceResult:
    """Return a run with its trades and orders."""
    return rebalance_result(find_run(run_id))


def find_run(run_id: str) -> RebalanceRun:
    """Return the run with this id.

    Raises:
        Refusal: 404, there is no such run.
    """
    found = RebalanceRun.objects.select_related("account", "event").filter(run_id=run_id).first()
    if found is None:
        raise Refusal(404, "unknown_run", f"There is no run {run_id!r}.")
    return found


@router.get("/events", response={200: EventList, **ERRORS}, operation_id="list_events", tags=["events"])
def list_events(request: HttpRequest, limit: Limit = 50, offset: Offset = 0) -> EventList:
    """List events, newest first."""
    page = StrategyEvent.objects.prefetch_related("runs__account").order_by("-id")[offset : offset + limit]
    return EventList(events=tuple(map(event_response, page)))


@router.get("/events/{event_id}", response={200: EventLine, **ERRORS}, operation_id="event", tags=["events"])
def one_event(request: HttpRequest, event_id: EventId) -> EventLine:
    """Return an event."""
    found = StrategyEvent.objects.filter(pk=event_id).first()
    if found is None:
        raise Refusal(404, "unknown_event", f"There is no event {event_id}.")
    return event_response(found)
