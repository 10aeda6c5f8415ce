from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_GET

from trading.actions.previews import VIEW_PERMISSION
from trading.models import RebalanceRun, RunState, without_documents
from trading.pages.layout import render_page
from trading.pages.pagination import filtered_page
from trading.pages.permissions import require_permission

RUN_FILTERS = {
    "": ("All", ()),
    "going": ("In progress", (RunState.QUEUED, RunState.RUNNING)),
    "waiting": ("Deferred", (RunState.DEFERRED,)),
    "attention": ("Needs attention", (RunState.NEEDS_ATTENTION,)),
    "failed": ("Failed, refused or stopped", (RunState.FAILED, RunState.REFUSED, RunState.STOPPED)),
    "completed": ("Completed", (RunState.COMPLETED,)),
}


@require_GET
@require_permission(VIEW_PERMISSION)
def runs(request: HttpRequest) -> HttpResponse:
    """Return the list of runs, newest first."""
    found = without_documents(RebalanceRun.objects.select_related("account"))
    return render_page(request, "trading/runs.html", filtered_page(found, request, RUN_FILTERS), "Runs")
