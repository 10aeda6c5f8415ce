"""`/metrics` for Prometheus, read from database rows: any process reports for the whole installation."""

import ipaddress
import secrets
from collections.abc import Iterator

from django.conf import settings
from django.db.models import Count, Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from trading.models import Delivery, DeliveryState, Order, RebalanceRun, RunState, StrategyEvent, TradingControl
from trading.monitoring.status import broker_health, heartbeats_of, listener_health, queue_health

REFUSAL = "Metrics are available to this machine, and to requests with `Authorization: Bearer` and METRICS_TOKEN.\n"


class InstallationCollector(Collector):
    """Collects all gauges from the database at each request. They contain no account, value or name."""

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield every gauge."""
        listener, queue, broker = listener_health(), queue_health(), broker_health()
        workers = sum(heartbeat.is_fresh for heartbeat in heartbeats_of("worker"))
        yield _gauge("workers", "Worker processes with a recent heartbeat", workers)
        up = float(listener.is_healthy)
        yield _gauge("listener_up", "1 if every channel receives events, or no listener is configured", up)
        yield _gauge("queue_tasks", "Tasks in the queue", queue.tasks)
        yield _gauge("queue_oldest_seconds", "Age of the oldest due task, in seconds", queue.oldest_seconds)
        yield _by_state("runs", "Runs by state", RebalanceRun.objects.all())
        yield _by_state("orders", "Orders by state", Order.objects.all())
        yield _by_state("events", "Events by state", StrategyEvent.objects.all())
        yield _gauge("run_oldest_queued_seconds", "Age of the oldest queued run, in seconds", _oldest_queued_seconds())
        pending = GaugeMetricFamily("rebalancer_outbox_pending", "Pending messages by outbox", labels=["outbox"])
        deliveries = Delivery.objects.filter(state=DeliveryState.PENDING)
        for name, to_webhooks in (("notifications", False), ("webhooks", True)):
            pending.add_metric([name], deliveries.filter(webhook__isnull=not to_webhooks).count())
        yield pending
        conflicts = broker.client_id_conflicts
        yield _gauge("client_id_conflicts", "Connection slots whose client id another program uses", conflicts)
        if (age := broker.last_response_age_seconds) is not None:
            description = "Time since a broker last returned account data, in seconds"
            yield _gauge("broker_last_response_age_seconds", description, age)
        paused = TradingControl.objects.filter(trading_paused=True).exists()
        yield _gauge("trading_paused", "1 if trading is paused for all accounts", float(paused))


def _gauge(name: str, description: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"rebalancer_{name}", description, value=value)


def _by_state(name: str, description: str, rows: QuerySet[Model]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"rebalancer_{name}", description, labels=["state"])
    for state, count in rows.order_by().values_list("state").annotate(count=Count("pk")):
        family.add_metric([state], count)
    return family


def _oldest_queued_seconds() -> float:
    queued = RebalanceRun.objects.filter(state=RunState.QUEUED).order_by("queued_at")
    oldest = queued.values_list("queued_at", flat=True).first()
    return (timezone.now() - oldest).total_seconds() if oldest else 0.0


@require_GET
@never_cache
def metrics(request: HttpRequest) -> HttpResponse:
    """Return the metrics to this machine, or to a request with the token."""
    if not (_is_local(request) or _has_token(request)):
        return HttpResponse(REFUSAL, status=403, content_type="text/plain")
    registry = CollectorRegistry()
    registry.register(InstallationCollector())
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


def _is_local(request: HttpRequest) -> bool:
    """Return whether this machine sent the request itself. A request forwarded by a proxy is not local."""
    if request.headers.get("X-Forwarded-For") or request.headers.get("Forwarded"):
        return False
    try:
        return ipaddress.ip_address(request.META.get("REMOTE_ADDR") or "").is_loopback
    except ValueError:
        return False


def _has_token(request: HttpRequest) -> bool:
    expected = settings.METRICS_TOKEN.get_secret_value()
    token = request.headers.get("Authorization", "").removeprefix("Bearer ")
    return bool(expected) and secrets.compare_digest(token.encode(), expected.encode())
