"""The queue, to look at: django-q2's own pages would let people run any code."""

from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET
from django_q.models import Failure, OrmQ, Schedule

from trading.monitoring.status import heartbeats_of
from trading.pages.layout import render_page
from trading.pages.permissions import require_permission

A_PAGE = 50


@require_GET
@never_cache
@require_permission("trading.view_processheartbeat")
def queue(request: HttpRequest) -> HttpResponse:
    """Workers, what waits, the schedules, and what failed lately."""
    now = timezone.now()
    tasks = [
        {"name": _name(row), "queue": row.key, "at": row.lock, "is_due": row.lock <= now}
        for row in OrmQ.objects.order_by("lock")[:A_PAGE]
    ]
    context = {
        "workers": heartbeats_of("worker"),
        "tasks": tasks,
        "waiting": OrmQ.objects.count(),
        "schedules": Schedule.objects.order_by("name").only("name", "func", "next_run"),
        # Without their results, which are pickles.
        "failures": Failure.objects.order_by("-stopped").only("name", "func", "stopped")[:A_PAGE],
    }
    return render_page(request, "trading/queue.html", context, "Queue")


def _name(row: OrmQ) -> str:
    # django-q2 checks the signature before it looks inside; what another key has signed has no function.
    return str(row.task.get("func") or "signed with another SECRET_KEY: it is dropped, and the sweeper makes up for it")
