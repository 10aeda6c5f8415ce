"""`/healthz`: whether the installation works, for supervisors and balancers."""

from django.db import DatabaseError
from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_GET

from trading.monitoring.status import ListenerHealth, broker_health, listener_health, overview, queue_health


@require_GET
def healthz(_: HttpRequest) -> JsonResponse:
    """`/healthz`: 200 when database, workers and listener are well, 503 when not; no secrets."""
    try:
        now, events, waiting, broker = overview(), listener_health(), queue_health(), broker_health()
    except DatabaseError:
        return JsonResponse({"database": "unreachable"}, status=503)
    body = {
        "database": "ok",
        "workers": "ok" if now.workers_alive else "no sign of life",
        "listener": _words(events),
        "queue": {"tasks": waiting.tasks, "oldest_seconds": round(waiting.oldest_seconds)},
        "broker": {
            "answered_seconds_ago": None if broker.answered_seconds_ago is None else round(broker.answered_seconds_ago),
            "slots_in_use_elsewhere": broker.in_use_elsewhere,
        },
        "runs": {"needs_attention": now.needs_attention},
    }
    return JsonResponse(body, status=200 if now.workers_alive and events.is_healthy else 503)


def _words(events: ListenerHealth) -> str:
    """How the listener stands, without the names of strategies: `doctor` has those."""
    if not events.is_enabled:
        return "not configured"
    if events.report is None:
        return "no sign of life"
    if events.is_healthy:
        return "ok"
    if events.unheard and events.report.state == "listening":
        return f"{events.unheard} of {len(events.report.channels)} channels not heard"
    return events.report.state
