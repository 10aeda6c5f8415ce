"""A preview with its confirmation, or a run with its orders, its story and its report."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from accounts.models import Account
from trading.access.two_factor import has_device
from trading.actions.manual_resolution import can_be_closed, may_resolve
from trading.actions.previews import (
    VIEW_PERMISSION,
    execute_preview,
    execution_refusal,
    may_execute,
    request_preview,
    request_stop,
)
from trading.error_codes import HELD
from trading.errors import EventRejected, Refused
from trading.models import Order, RebalanceRun, RunMode, RunState
from trading.pages.layout import account_crumb, accounts_crumb, render_page, user_of
from trading.pages.permissions import require_permission
from trading.pages.plan_tables import band_percent, plan_summary, weight_rows
from trading.pages.run_report import order_rows, run_report
from trading.pages.steps import step_rows

WAITING_TOO_LONG_SECONDS = 10
HTMX_UNCHANGED = 204


@require_POST
@require_permission(VIEW_PERMISSION)
def preview(request: HttpRequest, account_id: str) -> HttpResponse:
    """Asks for a preview and leads to its page."""
    found = get_object_or_404(Account, account_id=account_id)
    try:
        run = request_preview(found, user_of(request))
    except (Refused, EventRejected) as refusal:
        messages.error(request, refusal.message)
        return redirect("trading:account", account_id=account_id)
    return redirect("trading:run", run_id=run.run_id)


def find_run(run_id: str) -> RebalanceRun:
    """The run with what its page shows."""
    return get_object_or_404(
        RebalanceRun.objects.select_related("account__strategy", "event", "approved_preview", "requested_by"),
        run_id=run_id,
    )


@require_GET
@never_cache
@require_permission(VIEW_PERMISSION)
def run(request: HttpRequest, run_id: str) -> HttpResponse:
    """A preview with its confirmation, or a run with its orders and its story."""
    found = find_run(run_id)
    context = _context(request, found)
    title = "Preview" if context["is_preview"] else "Run"
    return render_page(request, "trading/run.html", context, title, accounts_crumb(), account_crumb(found.account))


@require_GET
@never_cache
@require_permission(VIEW_PERMISSION)
def run_fragment(request: HttpRequest, run_id: str) -> HttpResponse:
    """The moving part of a run's page; nothing when nothing has changed."""
    found = find_run(run_id)
    if request.GET.get("v") == _version(found):
        return HttpResponse(status=HTMX_UNCHANGED)
    return render(request, "trading/_run.html", _context(request, found))


def _context(request: HttpRequest, run: RebalanceRun) -> dict[str, Any]:
    me = user_of(request)
    is_preview = run.mode == RunMode.PREVIEW or run.is_held
    plan_is_ready = is_preview and (run.state == RunState.COMPLETED or run.is_held)
    refusal = execution_refusal(run, me) if is_preview else None
    rows = weight_rows(run)
    orders = list(run.orders.order_by("sequence"))
    return {
        "run": run,
        "is_preview": is_preview,
        "account": run.account,
        "steps": step_rows(run),
        "plan": plan_summary(run, rows) if run.result else None,
        "rows": rows,
        "band": band_percent(run),
        "held_codes": HELD,
        "blocked": [guard for guard in run.guards if not guard["passed"]],
        "orders": order_rows(run, orders),
        "filled": sum(order.state == "filled" for order in orders),
        "quoted_at": _quoted_at(run),
        "timeline": list(run.timeline.order_by("id")),
        "refusal": refusal,
        "plan_is_ready": plan_is_ready,
        "can_send": plan_is_ready and refusal is None,
        "is_live": run.account.type == Account.Type.LIVE,
        "needs_code": is_preview and run.account.type == Account.Type.LIVE and has_device(me),
        "may_stop": may_execute(me, run.account),
        "may_resolve": may_resolve(me),
        "may_close": may_resolve(me) and can_be_closed(run, orders),
        "waits_long": _waits_long(run),
        "version": _version(run),
        "elapsed": _elapsed(run),
        "report": run_report(run, orders) if run.report else None,
        "expires_in_seconds": _expires_in_seconds(run),
    }


def _waits_long(run: RebalanceRun) -> bool:
    waited = timezone.now() - run.queued_at
    return run.state == RunState.QUEUED and waited > timedelta(seconds=WAITING_TOO_LONG_SECONDS)


def _elapsed(run: RebalanceRun) -> timedelta | None:
    """For how long it has been running, or ran; in whole seconds."""
    if run.started_at is None:
        return None
    return timedelta(seconds=int(((run.finished_at or timezone.now()) - run.started_at).total_seconds()))


def _expires_in_seconds(run: RebalanceRun) -> int:
    if run.plan_expires_at is None:
        return 0
    return max(0, int((run.plan_expires_at - timezone.now()).total_seconds()))


def _quoted_at(run: RebalanceRun) -> object:
    """When the quotes of a plan were read: right before it was made."""
    planned = run.timeline.filter(code="planned").order_by("id").first()
    return planned.at if planned else None


def _version(run: RebalanceRun) -> str:
    """Changes whenever the run's page would, the fills of its orders included."""
    orders = Order.objects.filter(run=run).values_list("state", "filled_quantity")
    moving = "".join(state[0] for state, _ in orders)
    shares = sum((abs(filled) for _, filled in orders), Decimal(0))
    # A running clock is worth a look now and then, not each second.
    tick = int(timezone.now().timestamp()) // 5 if run.state == RunState.RUNNING else 0
    return f"{run.state}.{run.step}.{run.timeline.count()}.{moving}.{shares:.0f}.{int(_waits_long(run))}.{tick}"


@require_POST
@require_permission(VIEW_PERMISSION)
def execute(request: HttpRequest, run_id: str) -> HttpResponse:
    """Sends the orders of a preview: exactly those that the person saw."""
    try:
        execution = execute_preview(
            find_run(run_id),
            user_of(request),
            plan_hash=request.POST.get("digest", ""),
            typed_account_id=request.POST.get("account_id", ""),
            code=request.POST.get("code", ""),
        )
    except (Refused, EventRejected) as refusal:
        messages.error(request, refusal.message)
        return redirect("trading:run", run_id=run_id)
    return redirect("trading:run", run_id=execution.run_id)


@require_POST
@require_permission(VIEW_PERMISSION)
def stop(request: HttpRequest, run_id: str) -> HttpResponse:
    """Asks a run to send no more orders."""
    try:
        request_stop(find_run(run_id), user_of(request))
        messages.info(request, "No more orders are sent. Orders that are at the broker stay as they are.")
    except Refused as refusal:
        messages.error(request, refusal.message)
    return redirect("trading:run", run_id=run_id)
