"""`/healthz`: whether the installation works, for supervisors and balancers."""

from django.db import DatabaseError
from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_GET

from trading.vital_signs import overview


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
