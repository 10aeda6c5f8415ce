"""`/healthz`: the health of the installation, for load balancers and monitoring."""

from django.db import DatabaseError
from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_GET

from trading.monitoring.status import ListenerHealth, broker_health, listener_health, overview, queue_health


@require_GET
def healthz(_: HttpRequest) -> JsonResponse:
    """Return 200 if database, workers and listener are healthy, otherwise 503. Contains no secrets or names."""
    try:
        installation, listener, queue, broker = overview(), listener_health(), queue_health(), broker_health()
    except DatabaseError:
        return JsonResponse({"database": "unreachable"}, status=503)
    age = broker.last_response_age_seconds
    body = {
        "database": "ok",
        "workers": "ok" if installation.workers_alive else "no heartbeat",
        "listener": _listener_state(listener),
        "queue": {"tasks": queue.tasks, "oldest_seconds": round(queue.oldest_seconds)},
        "broker": {
            "answered_seconds_ago": None if age is None else round(age),
            "slots_in_use_elsewhere": broker.client_id_conflicts,
        },
        "runs": {"needs_attention": installation.needs_attention},
    }
    return JsonResponse(body, status=200 if installation.workers_alive and listener.is_healthy else 503)


def _listener_state(listener: ListenerHealth) -> str:
    """Return the state of the listener without strategy names, which only `doctor` prints."""
    if not listener.is_enabled:
        return "not configured"
    if listener.report is None:
        return "no heartbeat"
    if listener.is_healthy:
        return "ok"
    if listener.unhealthy_channels and listener.report.state == "listening":
        return f"{listener.unhealthy_channels} of {len(listener.report.channels)} channels unhealthy"
    return listener.report.state
