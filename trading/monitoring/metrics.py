"""`/metrics` for Prometheus, read from rows: any process answers for the whole installation, and answers the same."""

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

from trading.models import (
    Delivery,
    DeliveryState,
    Order,
    RebalanceRun,
    RunState,
    StrategyEvent,
    TradingControl,
)
from trading.monitoring.status import broker_health, heartbeats_of, listener_health, queue_health

REFUSAL = "Metrics are for this machine, or for `Authorization: Bearer` with METRICS_TOKEN.\n"


class Installation(Collector):
    """All gauges, made from the database at each request. No account, no value, no name is among them."""

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Every gauge."""
        workers = [sign for sign in heartbeats_of("worker") if sign.is_fresh]
        yield _gauge("workers", "Worker processes with a fresh sign of life", len(workers))
        heard = listener_health()
        yield _gauge("listener_well", "Whether every channel that is to be heard is heard", float(heard.is_healthy))
        waiting = queue_health()
        yield _gauge("queue_tasks", "Tasks that wait in the queue", waiting.tasks)
        yield _gauge("queue_oldest_seconds", "Age of the oldest task that is due", waiting.oldest_seconds)
        yield _by_state("runs", "Runs by state", RebalanceRun.objects.all())
        yield _by_state("orders", "Orders by state", Order.objects.all())
        yield _by_state("events", "Events by state", StrategyEvent.objects.all())
        yield _gauge("run_oldest_queued_seconds", "Age of the oldest run that is queued", _oldest_queued_seconds())
        pending = GaugeMetricFamily("rebalancer_outbox_pending", "Messages that wait", labels=["outbox"])
        deliveries = Delivery.objects.filter(state=DeliveryState.PENDING)
        for name, to_webhooks in (("notifications", False), ("webhooks", True)):
            pending.add_metric([name], deliveries.filter(webhook__isnull=not to_webhooks).count())
        yield pending
        broker = broker_health()
        yield _gauge("slots_in_use_elsewhere", "Connection slots whose client id is taken", broker.in_use_elsewhere)
        if broker.answered_seconds_ago is not None:
            yield _gauge(
                "broker_answered_seconds", "Since a broker last told of an account", broker.answered_seconds_ago
            )
        paused = TradingControl.objects.filter(trading_paused=True).exists()
        yield _gauge("trading_paused", "Whether the kill switch is on", float(paused))


def _gauge(name: str, words: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"rebalancer_{name}", words, value=value)


def _by_state(name: str, words: str, rows: QuerySet[Model]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"rebalancer_{name}", words, labels=["state"])
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
    """The gauges, for this machine or for who has the token."""
    if not (_is_from_here(request) or _has_token(request)):
        return HttpResponse(REFUSAL, status=403, content_type="text/plain")
    registry = CollectorRegistry()
    registry.register(Installation())
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


def _is_from_here(request: HttpRequest) -> bool:
    """Whether the peer is this machine and speaks for itself: what a proxy passes on comes from somebody else."""
    if request.headers.get("X-Forwarded-For") or request.headers.get("Forwarded"):
        return False
    try:
        return ipaddress.ip_address(request.META.get("REMOTE_ADDR") or "").is_loopback
    except ValueError:
        return False


def _has_token(request: HttpRequest) -> bool:
    wanted = settings.METRICS_TOKEN.get_secret_value()
    given = request.headers.get("Authorization", "").removeprefix("Bearer ")
    return bool(wanted) and secrets.compare_digest(given.encode(), wanted.encode())
