"""Lists that grow for ever: runs and events."""

from collections.abc import Mapping

from django.db.models import Count, OuterRef, Prefetch, QuerySet, Subquery
from django.db.models.functions import Coalesce, Greatest
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_GET

from trading.actions.previews import VIEW_RIGHT
from trading.models import EventState, RebalanceRun, RunState, StrategyEvent, without_documents
from trading.pages.layout import framed
from trading.pages.pagination import cursor_page
from trading.pages.permissions import needs

A_PAGE = 50
RUNS_OF_AN_EVENT = 5
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
@needs(VIEW_RIGHT)
def runs(request: HttpRequest) -> HttpResponse:
    """All runs, newest first."""
    chosen = request.GET.get("state", "")
    found = without_documents(RebalanceRun.objects.select_related("account"))
    if states := RUN_FILTERS.get(chosen, ("", ()))[1]:
        found = found.filter(state__in=states)
    context = {"page": cursor_page(found, request, A_PAGE), "filters": _filters(RUN_FILTERS, chosen)}
    return framed(request, "trading/runs.html", context, "Runs")


@require_GET
@needs(VIEW_RIGHT)
def events(request: HttpRequest) -> HttpResponse:
    """Every message with what became of it."""
    chosen = request.GET.get("state", "")
    found = with_first_runs(StrategyEvent.objects.defer("payload"))
    if states := EVENT_FILTERS.get(chosen, ("", ()))[1]:
        found = found.filter(state__in=states)
    context = {"page": cursor_page(found, request, A_PAGE), "filters": _filters(EVENT_FILTERS, chosen)}
    return framed(request, "trading/events.html", context, "Events")


def with_first_runs(found: QuerySet[StrategyEvent]) -> QuerySet[StrategyEvent]:
    """The events with the first few runs of each, `first_runs`, and how many there are besides, `runs_left_out`."""
    of_event = without_documents(RebalanceRun.objects.select_related("account")).order_by("id")
    counted = RebalanceRun.objects.filter(event=OuterRef("pk")).order_by().values("event").annotate(n=Count("pk"))
    left_out = Greatest(Coalesce(Subquery(counted.values("n")), 0) - RUNS_OF_AN_EVENT, 0)
    first = Prefetch("runs", of_event[:RUNS_OF_AN_EVENT], to_attr="first_runs")
    return found.annotate(runs_left_out=left_out).prefetch_related(first)


def _filters(known: Mapping[str, tuple[str, tuple[str, ...]]], chosen: str) -> list[dict[str, object]]:
    return [{"key": key, "label": label, "chosen": key == chosen} for key, (label, _) in known.items()]
