"""Lists that grow for ever: runs and events."""

from collections.abc import Mapping

from django.contrib.auth.decorators import permission_required
from django.db.models import Prefetch
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_GET

from trading.approvals import VIEW_RIGHT
from trading.models import EventState, RebalanceRun, RunState, StrategyEvent
from trading.pages.cursor import cursor_page
from trading.pages.dashboard import HEAVY
from trading.pages.frame import framed

A_PAGE = 50
RUN_FILTERS = {
    "": ("All", ()),
    "going": ("Going on", (RunState.QUEUED, RunState.RUNNING)),
    "waiting": ("Waiting", (RunState.DEFERRED,)),
    "attention": ("Need attention", (RunState.NEEDS_ATTENTION,)),
    "failed": ("Failed or refused", (RunState.FAILED, RunState.REFUSED)),
    "completed": ("Completed", (RunState.COMPLETED,)),
}
EVENT_FILTERS = {
    "": ("All", ()),
    "late": ("Late", (EventState.LATE,)),
    "rejected": ("Rejected", (EventState.REJECTED,)),
}


@require_GET
@permission_required(VIEW_RIGHT, login_url="admin:login")
def runs(request: HttpRequest) -> HttpResponse:
    """All runs, newest first."""
    chosen = request.GET.get("state", "")
    found = RebalanceRun.objects.select_related("account").defer(*HEAVY)
    if states := RUN_FILTERS.get(chosen, ("", ()))[1]:
        found = found.filter(state__in=states)
    context = {"page": cursor_page(found, request, A_PAGE), "filters": _filters(RUN_FILTERS, chosen)}
    return framed(request, "trading/runs.html", context, "Runs")


@require_GET
@permission_required(VIEW_RIGHT, login_url="admin:login")
def events(request: HttpRequest) -> HttpResponse:
    """Every message with what became of it."""
    chosen = request.GET.get("state", "")
    of_event = RebalanceRun.objects.select_related("account").defer(*HEAVY).order_by("id")
    found = StrategyEvent.objects.defer("payload").prefetch_related(Prefetch("runs", of_event))
    if states := EVENT_FILTERS.get(chosen, ("", ()))[1]:
        found = found.filter(state__in=states)
    context = {"page": cursor_page(found, request, A_PAGE), "filters": _filters(EVENT_FILTERS, chosen)}
    return framed(request, "trading/events.html", context, "Events")


def _filters(known: Mapping[str, tuple[str, tuple[str, ...]]], chosen: str) -> list[dict[str, object]]:
    return [{"key": key, "label": label, "chosen": key == chosen} for key, (label, _) in known.items()]
