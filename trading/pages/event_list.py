from django.db.models import Count, OuterRef, Prefetch, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce, Greatest
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_GET

from trading.actions.preview_state import mark_waiting
from trading.actions.previews import VIEW_PERMISSION
from trading.models import EventState, RebalanceRun, StrategyEvent, without_documents
from trading.pages.layout import render_page
from trading.pages.pagination import Filters, filtered_page
from trading.pages.permissions import require_permission

RUNS_OF_AN_EVENT = 5
EVENT_FILTERS: Filters = {
    "": ("All", Q()),
    "late": ("Late", Q(state=EventState.LATE)),
    "rejected": ("Rejected", Q(state=EventState.REJECTED)),
    "broken": ("Processing failed", Q(state=EventState.BROKEN)),
}


@require_GET
@require_permission(VIEW_PERMISSION)
def events(request: HttpRequest) -> HttpResponse:
    """Return the list of events, newest first."""
    found = with_first_runs(StrategyEvent.objects.defer("payload"))
    context = filtered_page(found, request, EVENT_FILTERS)
    mark_waiting([run for event in context["page"].rows for run in event.first_runs])
    return render_page(request, "trading/events.html", context, "Events")


def with_first_runs(found: QuerySet[StrategyEvent]) -> QuerySet[StrategyEvent]:
    """Add the first runs of each event as `first_runs`, and the number of the others as `runs_left_out`."""
    of_event = without_documents(RebalanceRun.objects.select_related("account")).order_by("id")
    counted = RebalanceRun.objects.filter(event=OuterRef("pk")).order_by().values("event").annotate(n=Count("pk"))
    left_out = Greatest(Coalesce(Subquery(counted.values("n")), 0) - RUNS_OF_AN_EVENT, 0)
    first = Prefetch("runs", of_event[:RUNS_OF_AN_EVENT], to_attr="first_runs")
    return found.annotate(runs_left_out=left_out).prefetch_related(first)
