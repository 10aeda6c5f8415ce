"""The product's pages. They hold no rules: they parse, call one service, and show."""

import csv
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from accounts.models import Account
from trading.approvals import (
    PREVIEW_RIGHT,
    VIEW_RIGHT,
    execute_preview,
    may_execute,
    request_preview,
    request_stop,
    why_not,
)
from trading.errors import EventRejected, Refused
from trading.models import RebalanceRun, RunMode, RunState, StrategyEvent
from trading.pages.charts import line_chart
from trading.pages.dashboard import account_cards, totals
from trading.pages.frame import framed, person_of
from trading.pages.tables import plan_summary, step_rows, weight_rows
from trading.schedule.entries import open_entries
from trading.vital_signs import overview

WAITING_TOO_LONG_SECONDS = 10
HTMX_UNCHANGED = 204


@require_GET
@permission_required(VIEW_RIGHT, login_url="admin:login")
def dashboard(request: HttpRequest) -> HttpResponse:
    """All accounts at a glance, the worst first."""
    cards = account_cards()
    latest = RebalanceRun.objects.select_related("account").order_by("-id")[:8]
    context = {
        "cards": cards,
        "totals": totals(cards),
        "latest": latest,
        "health": overview(),
        "may_preview": request.user.has_perm(PREVIEW_RIGHT),
    }
    return framed(request, "trading/dashboard.html", context, "Dashboard")


@require_GET
@permission_required(VIEW_RIGHT, login_url="admin:login")
def account(request: HttpRequest, account_id: str) -> HttpResponse:
    """One account: where it stands and what was done."""
    found = get_object_or_404(Account.objects.select_related("strategy", "replacement_set"), account_id=account_id)
    planned = found.runs.exclude(result={}).filter(state=RunState.COMPLETED).order_by("-id").first()
    values = list(found.values.order_by("-at").values_list("total_value_usd", flat=True)[:400])[::-1]
    context = {
        "account": found,
        "planned": planned,
        "rows": weight_rows(planned) if planned else [],
        "runs": found.runs.select_related("account").order_by("-id")[:12],
        "going_on": found.runs.filter(state__in=(RunState.QUEUED, RunState.RUNNING)).order_by("-id").first(),
        "chart": line_chart(values),
        "may_preview": request.user.has_perm(PREVIEW_RIGHT),
        "may_schedule": may_execute(person_of(request), found),
        "scheduled": open_entries().filter(account=found),
    }
    return framed(request, "trading/account.html", context, found.display_name)


@require_POST
@permission_required(VIEW_RIGHT, login_url="admin:login")
def preview(request: HttpRequest, account_id: str) -> HttpResponse:
    """Asks for a preview and leads to its page."""
    found = get_object_or_404(Account, account_id=account_id)
    try:
        run = request_preview(found, person_of(request))
    except (Refused, EventRejected) as refusal:
        messages.error(request, refusal.message)
        return redirect("trading:account", account_id=account_id)
    return redirect("trading:run", run_id=run.run_id)


def _run(run_id: str) -> RebalanceRun:
    return get_object_or_404(
        RebalanceRun.objects.select_related("account__strategy", "event", "approved_preview", "requested_by"),
        run_id=run_id,
    )


def _run_context(request: HttpRequest, run: RebalanceRun) -> dict[str, Any]:
    refusal = why_not(run, person_of(request)) if run.mode == RunMode.PREVIEW else None
    orders = list(run.orders.order_by("sequence"))
    waited_seconds = (timezone.now() - run.queued_at).total_seconds()
    return {
        "run": run,
        "heading": f"{'Preview' if run.mode == RunMode.PREVIEW else 'Run'} · {run.account.display_name}",
        "account": run.account,
        "steps": step_rows(run),
        "plan": plan_summary(run) if run.result else None,
        "rows": weight_rows(run),
        "guards": run.guards,
        "orders": orders,
        "filled": sum(order.state == "filled" for order in orders),
        "timeline": list(run.timeline.order_by("id")),
        "refusal": refusal,
        "can_send": run.mode == RunMode.PREVIEW and refusal is None,
        "is_live": run.account.type == Account.Type.LIVE,
        "may_stop": may_execute(person_of(request), run.account),
        "waits_long": run.state == RunState.QUEUED and waited_seconds > WAITING_TOO_LONG_SECONDS,
        "version": _version(run),
        "drift_percent": run.residual_drift * 100 if run.residual_drift is not None else None,
        "expires_in_seconds": max(0, int((run.plan_expires_at - timezone.now()).total_seconds()))
        if run.plan_expires_at
        else 0,
    }


def _version(run: RebalanceRun) -> str:
    """Changes whenever the run's page would."""
    entries = run.timeline.count()
    waits = run.state == RunState.QUEUED and (timezone.now() - run.queued_at).total_seconds()
    return f"{run.state}.{run.step}.{entries}.{int(waits > WAITING_TOO_LONG_SECONDS) if waits else 0}"


@require_GET
@never_cache
@permission_required(VIEW_RIGHT, login_url="admin:login")
def run(request: HttpRequest, run_id: str) -> HttpResponse:
    """A preview with its confirmation, or a run with its orders and its story."""
    found = _run(run_id)
    context = _run_context(request, found)
    return framed(request, "trading/run.html", context, context["heading"])


@require_GET
@never_cache
@permission_required(VIEW_RIGHT, login_url="admin:login")
def run_fragment(request: HttpRequest, run_id: str) -> HttpResponse:
    """The moving part of a run's page; nothing when nothing has changed."""
    found = _run(run_id)
    if request.GET.get("v") == _version(found):
        return HttpResponse(status=HTMX_UNCHANGED)
    return render(request, "trading/_run.html", _run_context(request, found))


@require_POST
@permission_required(VIEW_RIGHT, login_url="admin:login")
def execute(request: HttpRequest, run_id: str) -> HttpResponse:
    """Sends the orders of a preview: exactly those that the person saw."""
    found = _run(run_id)
    try:
        execution = execute_preview(
            found,
            person_of(request),
            digest=request.POST.get("digest", ""),
            typed_account_id=request.POST.get("account_id", ""),
        )
    except (Refused, EventRejected) as refusal:
        messages.error(request, refusal.message)
        return redirect("trading:run", run_id=run_id)
    return redirect("trading:run", run_id=execution.run_id)


@require_POST
@permission_required(VIEW_RIGHT, login_url="admin:login")
def stop(request: HttpRequest, run_id: str) -> HttpResponse:
    """Asks a run to send no more orders."""
    try:
        request_stop(_run(run_id), person_of(request))
        messages.info(request, "No more orders are sent. Orders that are at the broker stay as they are.")
    except Refused as refusal:
        messages.error(request, refusal.message)
    return redirect("trading:run", run_id=run_id)


@require_GET
@permission_required(VIEW_RIGHT, login_url="admin:login")
def trades_csv(request: HttpRequest, run_id: str) -> HttpResponseBase:  # noqa: ARG001 - Django's signature
    """The trades of a plan for a spreadsheet."""
    found = _run(run_id)
    response = HttpResponse(content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{found.account.account_id}-{found.run_id}.csv"'
    rows = csv.writer(response)
    rows.writerow(("symbol", "quantity", "order_type", "limit_price_usd", "reason", "detail"))
    for trade in found.result.get("trades", []):
        rows.writerow(
            (
                trade["symbol"],
                trade["quantity"],
                trade["order_type"],
                trade["price"],
                trade["reason"],
                trade["detail"],
            )
        )
    return response


@require_GET
@permission_required(VIEW_RIGHT, login_url="admin:login")
def runs(request: HttpRequest) -> HttpResponse:
    """All runs, newest first."""
    page = Paginator(RebalanceRun.objects.select_related("account").order_by("-id"), 50).get_page(
        request.GET.get("page")
    )
    return framed(request, "trading/runs.html", {"page": page}, "Runs")


@require_GET
@permission_required(VIEW_RIGHT, login_url="admin:login")
def events(request: HttpRequest) -> HttpResponse:
    """Every message with what became of it."""
    page = Paginator(StrategyEvent.objects.prefetch_related("runs__account").order_by("-id"), 50).get_page(
        request.GET.get("page")
    )
    return framed(request, "trading/events.html", {"page": page}, "Events")
