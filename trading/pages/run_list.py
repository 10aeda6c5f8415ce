from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_GET

from trading.actions.preview_state import mark_waiting
from trading.actions.previews import VIEW_PERMISSION
from trading.models import RebalanceRun, RunOutcome, RunState, without_documents
from trading.pages.layout import render_page
from trading.pages.pagination import Filters, filtered_page
from trading.pages.permissions import require_permission

NOT_DONE = (RunOutcome.PARTLY_DONE, RunOutcome.STOPPED, RunOutcome.REFUSED, RunOutcome.FAILED)
RUN_FILTERS: Filters = {
    "": ("All", Q()),
    "going": ("In progress", Q(state__in=(RunState.QUEUED, RunState.RUNNING))),
    "waiting": ("Deferred", Q(state=RunState.DEFERRED)),
    "attention": ("Needs attention", Q(outcome=RunOutcome.NEEDS_ATTENTION) | Q(state=RunState.NEEDS_ATTENTION)),
    "failed": ("Not done", Q(outcome__in=NOT_DONE)),
    "completed": ("Done", Q(outcome__in=(RunOutcome.DONE, RunOutcome.NOTHING_TO_DO))),
}


@require_GET
@require_permission(VIEW_PERMISSION)
def runs(request: HttpRequest) -> HttpResponse:
    """Return the list of runs, newest first."""
    found = without_documents(RebalanceRun.objects.select_related("account", "event").defer("event__payload"))
    context = filtered_page(found, request, RUN_FILTERS)
    mark_waiting(context["page"].rows)
    return render_page(request, "trading/runs.html", context, "Runs")
