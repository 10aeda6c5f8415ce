from datetime import timedelta
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.utils import timezone
from django.views.decorators.http import require_GET

from accounts.models import Account
from accounts.policies import resolve_policy
from trading.actions.previews import PREVIEW_PERMISSION, VIEW_PERMISSION
from trading.actions.refresh import REFRESH_PERMISSION
from trading.guards.may_trade import may_execute
from trading.guards.trade_guard import check_trade_guard
from trading.market_calendar import market_calendar
from trading.models import AccountRefresh, AccountStanding, RebalanceRun, RunState, ScheduleEntry, without_documents
from trading.pages.account_facts import old_before, preview_obstacle, reading_obstacle
from trading.pages.history import MONTH_DAYS, YEAR_DAYS, account_chart, missing_return
from trading.pages.holdings import holdings_of
from trading.pages.layout import accounts_crumb, render_page, user_of
from trading.pages.permissions import require_permission
from trading.planning.performance import performance_of
from trading.planning.standing_basis import read_bases, with_settings

RUNS_SHOWN = 8
LONGEST_REFRESH = timedelta(minutes=1)
"""Time after which a refresh without an answer is late: no worker has taken it."""


@require_GET
@require_permission(VIEW_PERMISSION)
def account(request: HttpRequest, account_id: str) -> HttpResponse:
    """Return the page of an account."""
    found = get_object_or_404(
        with_settings(Account.objects.select_related("standing", "refresh")), account_id=account_id
    )
    performance = performance_of([found.pk], YEAR_DAYS)[found.pk]
    period = performance.over(MONTH_DAYS)
    runs = without_documents(found.runs.select_related("account")).order_by("-id")
    attention = runs.filter(state=RunState.NEEDS_ATTENTION).first()
    context = {
        "account": found,
        **_standing(found),
        "obstacle": preview_obstacle(found),
        "refresh": _refresh(found),
        "may_refresh": request.user.has_perm(REFRESH_PERMISSION) and not reading_obstacle(found),
        "chart": account_chart(found, performance),
        "period": period,
        "year": performance.over(YEAR_DAYS),
        "missing_return": missing_return(period),
        "guard": _trade_guard(found),
        "runs": runs[:RUNS_SHOWN],
        "in_progress": runs.filter(state__in=(RunState.QUEUED, RunState.RUNNING)).first(),
        "deferred": runs.filter(state=RunState.DEFERRED).first(),
        "attention": attention,
        "attention_has_open_orders": attention is not None and any(order.is_open for order in attention.orders.all()),
        "may_preview": request.user.has_perm(PREVIEW_PERMISSION),
        "may_schedule": may_execute(user_of(request), found),
        "scheduled": ScheduleEntry.open_entries().filter(account=found),
    }
    return render_page(request, "trading/account.html", context, found.display_name, accounts_crumb())


def _standing(account: Account) -> dict[str, Any]:
    standing: AccountStanding | None = getattr(account, "standing", None)
    if standing is None:
        return {"standing": None}
    planned = RebalanceRun.objects.filter(pk=standing.planned_run_id or 0).values_list("instruments", flat=True).first()
    return {
        "standing": standing,
        "is_old": standing.as_of < old_before(),
        "holdings": holdings_of(standing, read_bases([account])[account.pk], planned or {}),
    }


def _refresh(account: Account) -> dict[str, Any]:
    """Return the request of a user to read the account: whether it is in progress, is late, or has failed."""
    refresh: AccountRefresh | None = getattr(account, "refresh", None)
    if refresh is None:
        return {}
    standing: AccountStanding | None = getattr(account, "standing", None)
    is_late = refresh.is_pending and refresh.requested_at < timezone.now() - LONGEST_REFRESH
    is_newest = standing is None or refresh.requested_at > standing.as_of
    return {
        "request": refresh,
        "in_progress": refresh.is_pending and not is_late,
        "is_late": is_late and is_newest,
        "failed": bool(refresh.error_code) and is_newest,
    }


def _trade_guard(account: Account) -> object:
    policy = resolve_policy(account)
    return check_trade_guard(
        account.pk, policy.trade_guard, timezone.now(), market_calendar(), resume=policy.next_execution_time
    )
