"""The queue page, read-only: the pages of django-q2 would let users run any code."""

from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET
from django_q.models import Failure, OrmQ, Schedule

from trading.monitoring.status import heartbeats_of
from trading.pages.layout import render_page
from trading.pages.permissions import require_permission

A_PAGE = 50
UNREADABLE = "Invalid signature (SECRET_KEY changed); will be discarded"


@require_GET
@never_cache
@require_permission("trading.view_processheartbeat")
def queue(request: HttpRequest) -> HttpResponse:
    """Return the queue page: workers, queued tasks, schedules and failed tasks."""
    now = timezone.now()
    tasks = [
        # django-q2 verifies the signature first; a task signed with another key has no function.
        {"name": str(row.task.get("func") or UNREADABLE), "queue": row.key, "at": row.lock, "is_due": row.lock <= now}
        for row in OrmQ.objects.order_by("lock")[:A_PAGE]
    ]
    context = {
        "workers": heartbeats_of("worker"),
        "tasks": tasks,
        "waiting": OrmQ.objects.count(),
        "schedules": Schedule.objects.order_by("name").only("name", "func", "next_run"),
        # Results are pickles, so they are not loaded.
        "failures": Failure.objects.order_by("-stopped").only("name", "func", "stopped")[:A_PAGE],
    }
    return render_page(request, "trading/queue.html", context, "Queue")
