from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.utils import timezone
from django.views.decorators.http import require_GET

from accounts.models import Account
from accounts.policies import resolve_policy
from trading.access.two_factor import has_device
from trading.actions.previews import PREVIEW_PERMISSION, VIEW_PERMISSION
from trading.guards.may_trade import may_execute
from trading.guards.trade_guard import check_trade_guard
from trading.market_calendar import market_calendar
from trading.models import RunMode, RunState, ScheduleEntry, without_documents
from trading.pages.charts import value_chart
from trading.pages.dashboard import OLD_AFTER
from trading.pages.history import YEAR_DAYS, change_percent, rebalance_days, values_of
from trading.pages.layout import accounts_crumb, render_page, user_of
from trading.pages.permissions import require_permission
from trading.pages.plan_tables import band_percent, drift_chart, rings, weight_rows

RUNS_SHOWN = 8


@require_GET
@require_permission(VIEW_PERMISSION)
def account(request: HttpRequest, account_id: str) -> HttpResponse:
    """Return the page of an account."""
    found = get_object_or_404(
        Account.objects.with_followed_strategy()
        .select_related("replacement_set", "policy", "standing__planned_run")
        .defer(*(f"standing__planned_run__{name}" for name in ("snapshot", "quotes", "guards", "targets", "warnings"))),
        account_id=account_id,
    )
    standing = getattr(found, "standing", None)
    planned = standing.planned_run if standing else None
    rows = weight_rows(planned) if planned else []
    after = bool(planned and planned.mode == RunMode.EXECUTE)
    points = values_of([found.pk], YEAR_DAYS)[found.pk]
    runs = without_documents(found.runs.select_related("account")).order_by("-id")
    context = {
        "account": found,
        "standing": standing,
        "is_old": bool(standing and standing.as_of < timezone.now() - OLD_AFTER),
        "planned": planned,
        "after": after,
        "rows": rows,
        "outside": sum(row.outside for row in rows) if not after else 0,
        "band": band_percent(planned) if planned else None,
        "rings": rings(rows, after=after),
        "drift": drift_chart(rows, band_percent(planned), after=after) if planned else None,
        "chart": value_chart(points, rebalance_days(found)),
        "change_percent": change_percent(points),
        "guard": _trade_guard(found),
        "runs": runs[:RUNS_SHOWN],
        "in_progress": runs.filter(state__in=(RunState.QUEUED, RunState.RUNNING)).first(),
        "deferred": runs.filter(state=RunState.DEFERRED).first(),
        "attention": runs.filter(state=RunState.NEEDS_ATTENTION).first(),
        "may_preview": request.user.has_perm(PREVIEW_PERMISSION),
        "may_schedule": may_execute(user_of(request), found),
        "needs_code": found.type == Account.Type.LIVE and has_device(user_of(request)),
        "scheduled": ScheduleEntry.open_entries().filter(account=found),
    }
    return render_page(request, "trading/account.html", context, found.display_name, accounts_crumb())


def _trade_guard(account: Account) -> object:
    policy = resolve_policy(account)
    return check_trade_guard(
        account.pk, policy.trade_guard, timezone.now(), market_calendar(), resume=policy.next_execution_time
    )
