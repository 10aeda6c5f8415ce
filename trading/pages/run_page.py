"""The page of a run: a preview with its confirmation, or an execution with orders, timeline and report."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.contrib import messages
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from accounts.models import Account
from accounts.models.account import FOLLOWED_STRATEGY
from trading.access.two_factor import has_device
from trading.actions.manual_resolution import can_be_closed, may_resolve
from trading.actions.preview_state import PlanState, preview_state
from trading.actions.previews import VIEW_PERMISSION, execute_preview, request_preview, request_stop
from trading.error_codes import GUARDS, needs_approval
from trading.errors import EventRejected, Refused
from trading.guards.may_trade import may_execute
from trading.guards.plan import TURNOVER
from trading.journal.outcomes import orders_text, stopped_by, trade_progress
from trading.models import Order, RebalanceRun, RunMode, RunOutcome, RunState, ScheduleEntry
from trading.pages.layout import account_crumb, accounts_crumb, render_page, user_of
from trading.pages.permissions import require_permission
from trading.pages.plan_tables import band_percent, plan_summary, weight_rows, weights_are_planned
from trading.pages.refusals import show_refusal
from trading.pages.run_report import order_rows, run_report
from trading.pages.steps import step_rows

QUEUE_WARNING = timedelta(seconds=10)
"""Time in the queue after which the page reports that no worker has started the run."""
HTMX_UNCHANGED = 204
UNFINISHED = frozenset({RunOutcome.PARTLY_DONE, RunOutcome.STOPPED})
"""Outcomes that leave trades of the plan, which a new preview can finish."""
CLOSED = frozenset({"market_closed", "too_close_to_close"})
"""Codes of guards that pass at the next open."""


@require_POST
@require_permission(VIEW_PERMISSION)
def preview(request: HttpRequest, account_id: str) -> HttpResponse:
    """Request a preview and redirect to its page."""
    found = get_object_or_404(Account, account_id=account_id)
    try:
        run = request_preview(found, user_of(request))
    except (Refused, EventRejected) as refusal:
        show_refusal(request, refusal)
        return redirect("trading:account", account_id=account_id)
    return redirect("trading:run", run_id=run.run_id)


def find_run(run_id: str) -> RebalanceRun:
    """Return a run with the related rows of its page."""
    runs = RebalanceRun.objects.select_related(
        f"account__{FOLLOWED_STRATEGY}", "event", "approved_preview", "requested_by"
    )
    return get_object_or_404(runs, run_id=run_id)


@require_GET
@never_cache
@require_permission(VIEW_PERMISSION)
def run(request: HttpRequest, run_id: str) -> HttpResponse:
    """Return the page of a run."""
    found = find_run(run_id)
    context = _context(request, found)
    title = "Preview" if context["is_preview"] else "Run"
    return render_page(request, "trading/run.html", context, title, accounts_crumb(), account_crumb(found.account))


@require_GET
@never_cache
@require_permission(VIEW_PERMISSION)
def run_fragment(request: HttpRequest, run_id: str) -> HttpResponse:
    """Return the changing part of a run's page, or an empty response if it has not changed."""
    found = find_run(run_id)
    if request.GET.get("v") == _version(found):
        return HttpResponse(status=HTMX_UNCHANGED)
    return render(request, "trading/_run.html", _context(request, found))


def _context(request: HttpRequest, run: RebalanceRun) -> dict[str, Any]:
    me = user_of(request)
    is_preview = run.mode == RunMode.PREVIEW or run.is_held
    state = preview_state(run, me) if is_preview else None
    rows = weight_rows(run)
    orders = list(run.orders.order_by("sequence"))
    trades = trade_progress(run, orders)
    blocked = [guard for guard in run.guards if not guard["passed"]]
    return {
        "run": run,
        "is_preview": is_preview,
        "account": run.account,
        "steps": step_rows(run, trades),
        "plan": plan_summary(run, rows) if run.result else None,
        "rows": rows,
        "band": band_percent(run),
        "weights_are_planned": weights_are_planned(run),
        "needs_approval": [guard for guard in blocked if needs_approval(guard["code"])],
        "approval_note": _approval_note(run, blocked),
        "checks": _checks(run),
        "failed_checks": len(blocked),
        "orders": order_rows(run, orders),
        "filled": sum(not trade.undone for trade in trades),
        "planned": len(trades),
        "orders_text": orders_text(run),
        "stopped_by": stopped_by(run),
        "can_be_finished": run.outcome in UNFINISHED,
        # The quotes of a plan are read immediately before planning.
        "quoted_at": run.timeline.filter(code="planned").order_by("id").values_list("at", flat=True).first(),
        "timeline": list(run.timeline.order_by("id")),
        "preview": state,
        "refusal": state and state.refusal,
        "can_send": state is not None and state.can_be_sent,
        "can_act": state is not None and state.state in {PlanState.READY, PlanState.WAITING_FOR_APPROVAL},
        "plan_is_ready": is_preview and (run.state == RunState.COMPLETED or run.is_held),
        "can_schedule": state is not None and state.state is PlanState.BLOCKED and _can_schedule(run, me, blocked),
        "is_live": run.account.type == Account.Type.LIVE,
        "needs_code": is_preview and run.account.type == Account.Type.LIVE and has_device(me),
        "may_stop": may_execute(me, run.account),
        "may_resolve": may_resolve(me),
        "may_be_closed": can_be_closed(run, orders),
        "may_close": may_resolve(me) and can_be_closed(run, orders),
        "is_overdue": _is_overdue(run),
        "version": _version(run),
        "elapsed": _elapsed(run),
        "report": run_report(run, orders) if run.report else None,
    }


def _approval_note(run: RebalanceRun, blocked: Sequence[Mapping[str, Any]]) -> str:
    """Return why a plan beyond the turnover limit needs no further approval; empty for another plan."""
    if blocked or not run.result:
        return ""
    exceeded = Decimal(run.result["turnover_percent"]) > Decimal(str(run.policy["max_turnover_percent"]))
    return next((guard["message"] for guard in run.guards if guard["code"] == TURNOVER and exceeded), "")


def _checks(run: RebalanceRun) -> list[dict[str, Any]]:
    """Return the results of the guards, each sentence once. A failed one has its title: the state has the sentence."""
    once = {(guard["passed"], guard["message"]): guard for guard in run.guards}
    titles = {code: guard.title for code, guard in GUARDS.items()}
    return [
        {"title": titles.get(guard["code"], guard["code"]), "can_be_approved": needs_approval(guard["code"]), **guard}
        for guard in once.values()
    ]


def _can_schedule(run: RebalanceRun, user: User, blocked: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether all that blocks the plan is the closed exchange, and the user may rebalance at the next open."""
    codes = {guard["code"] for guard in blocked if not needs_approval(guard["code"])}
    if not codes or not codes <= CLOSED or not may_execute(user, run.account):
        return False
    return not ScheduleEntry.open_entries().filter(account=run.account).exists()


def _is_overdue(run: RebalanceRun) -> bool:
    return run.state == RunState.QUEUED and timezone.now() - run.queued_at > QUEUE_WARNING


def _elapsed(run: RebalanceRun) -> timedelta | None:
    """Return the run's duration so far, in whole seconds."""
    if run.started_at is None:
        return None
    return timedelta(seconds=int(((run.finished_at or timezone.now()) - run.started_at).total_seconds()))


def _version(run: RebalanceRun) -> str:
    """Return a value that changes with the content of the run's page, fills included."""
    orders = Order.objects.filter(run=run).values_list("state", "filled_quantity")
    moving = "".join(state[0] for state, _ in orders)
    shares = sum((abs(filled) for _, filled in orders), Decimal(0))
    # The elapsed time is refreshed every five seconds only.
    tick = int(timezone.now().timestamp()) // 5 if run.state == RunState.RUNNING else 0
    return f"{run.state}.{run.step}.{run.timeline.count()}.{moving}.{shares:.0f}.{int(_is_overdue(run))}.{tick}"


@require_POST
@require_permission(VIEW_PERMISSION)
def execute(request: HttpRequest, run_id: str) -> HttpResponse:
    """Execute a preview: submit exactly the orders that the user saw."""
    try:
        run_id = execute_preview(
            find_run(run_id),
            user_of(request),
            plan_hash=request.POST.get("plan_hash", ""),
            typed_account_id=request.POST.get("account_id", ""),
            code=request.POST.get("code", ""),
        ).run_id
    except (Refused, EventRejected) as refusal:
        show_refusal(request, refusal)
    return redirect("trading:run", run_id=run_id)


@require_POST
@require_permission(VIEW_PERMISSION)
def stop(request: HttpRequest, run_id: str) -> HttpResponse:
    """Request that a run submits no further orders."""
    return _stop(request, run_id, cancel_orders=False)


@require_POST
@require_permission(VIEW_PERMISSION)
def stop_and_cancel(request: HttpRequest, run_id: str) -> HttpResponse:
    """Request that a run submits no further orders, and cancels those that are still open."""
    return _stop(request, run_id, cancel_orders=True)


def _stop(request: HttpRequest, run_id: str, *, cancel_orders: bool) -> HttpResponse:
    submitted = "Working orders are being cancelled." if cancel_orders else "Orders already submitted remain active."
    try:
        if request_stop(find_run(run_id), user_of(request), cancel_orders=cancel_orders):
            messages.info(request, "The run was cancelled before it started. No orders were submitted.")
        else:
            messages.info(request, f"No further orders will be submitted. {submitted}")
    except Refused as refusal:
        show_refusal(request, refusal)
    return redirect("trading:run", run_id=run_id)
