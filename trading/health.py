"""Whether the installation works, judged by rows of the database and their age."""

from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.db import DatabaseError
from django.http import HttpRequest, JsonResponse
from django.utils import timezone
from django.views.decorators.http import require_GET
from django_q.models import OrmQ

from trading.models import ProcessHeartbeat, RebalanceRun, RunState


@dataclass(frozen=True)
class Overview:
    """What a person should know at a glance."""

    workers_alive: bool
    queued_tasks: int
    needs_attention: int


def overview() -> Overview:
    """The state of the installation now."""
    fresh = timezone.now() - timedelta(seconds=3 * settings.SWEEP_SECONDS + 5)
    return Overview(
        workers_alive=ProcessHeartbeat.objects.filter(kind="worker", at__gte=fresh).exists(),
        queued_tasks=OrmQ.objects.count(),
        needs_attention=RebalanceRun.objects.filter(state=RunState.NEEDS_ATTENTION).count(),
    )


@require_GET
def healthz(_: HttpRequest) -> JsonResponse:
    """`/healthz`: 200 when database and workers are well, 503 when not; no secrets."""
    try:
        now = overview()
    except DatabaseError:
        return JsonResponse({"database": "unreachable"}, status=503)
    body = {
        "database": "ok",
        "workers": "ok" if now.workers_alive else "no sign of life",
        "queue": {"tasks": now.queued_tasks},
        "runs": {"needs_attention": now.needs_attention},
    }
    return JsonResponse(body, status=200 if now.workers_alive else 503)
