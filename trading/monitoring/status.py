"""The health of the parts of the installation, evaluated from database rows and their age.

Any process can call this and gets the same result: nothing here depends on the process that runs it.
"""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from http.client import HTTPConnection, HTTPException

from django.conf import settings
from django.db.models import Max
from django.utils import timezone
from django_q.models import OrmQ
from pydantic import ValidationError

from accounts.models import BrokerConnection
from brokers.exceptions import BrokerConnectionError, BrokerSilent, BrokerUnreachable, ClientIdInUse
from trading.models import AccountStanding, ProcessHeartbeat, RebalanceRun, RunState, without_documents
from trading.monitoring.listener_report import MAX_AGE_SECONDS, STOPPED, ListenerReport

SITE_TIMEOUT_SECONDS = 10.0
OUTAGE_MAX_AGE = timedelta(days=1)
"""Time for which a failed run counts as evidence that its broker is unreachable."""
MAX_RESPONSE_BYTES = 100_000


@dataclass(frozen=True)
class HeartbeatAge:
    """The age of the latest heartbeat of one process."""

    name: str
    age_seconds: float
    is_fresh: bool


def heartbeats_of(kind: str) -> list[HeartbeatAge]:
    """Return the heartbeats of all processes of a kind, by name."""
    now, found = timezone.now(), []
    for row in ProcessHeartbeat.objects.filter(kind=kind).order_by("name"):
        age_seconds = (now - row.at).total_seconds()
        # Plain `qcluster` writes one with each of its scheduled sweeps only.
        every_seconds = row.details.get("every_seconds", settings.SWEEP_SECONDS)
        found.append(HeartbeatAge(row.name, age_seconds, is_fresh=age_seconds <= 3 * every_seconds + 5))
    return found


@dataclass(frozen=True)
class ListenerHealth:
    """Whether events are received. With several listeners, the health of the best one."""

    is_enabled: bool
    listener: str = ""
    report: ListenerReport | None = None
    problems: tuple[str, ...] = ()

    @property
    def is_healthy(self) -> bool:
        """Whether every channel receives messages, or no listener is configured."""
        return not self.is_enabled or not self.problems

    @property
    def unhealthy_channels(self) -> int:
        """The number of channels that have a problem at the moment."""
        return sum(channel.problem_since is not None for channel in self.report.channels) if self.report else 0


def listener_health() -> ListenerHealth:
    """Return the health of the listener, from the age and content of the heartbeats."""
    now = timezone.now()
    rows = list(ProcessHeartbeat.objects.filter(kind="listener").order_by("-at"))
    stopped = not rows or rows[0].details.get("state") == STOPPED
    if stopped and not settings.REALTIME_API_KEY.get_secret_value():
        return ListenerHealth(is_enabled=False)
    fresh = [row for row in rows if (now - row.at).total_seconds() <= MAX_AGE_SECONDS]
    running = [_evaluate(row, now) for row in fresh if row.details.get("state") != STOPPED]
    missing = ListenerHealth(is_enabled=True, problems=("No listener is running (no recent heartbeat).",))
    return min(running, key=lambda health: len(health.problems), default=missing)


def _evaluate(row: ProcessHeartbeat, now: datetime) -> ListenerHealth:
    try:
        report = ListenerReport.model_validate(row.details)
    except ValidationError:
        return ListenerHealth(True, row.name, problems=("The listener runs another version. Restart it.",))
    return ListenerHealth(True, row.name, report, tuple(report.problems(now)))


@dataclass(frozen=True)
class QueueHealth:
    """The number of queued tasks, and the age of the oldest one that is due."""

    tasks: int
    oldest_seconds: float


def queue_health() -> QueueHealth:
    """Return the health of the queue."""
    now = timezone.now()
    oldest = OrmQ.objects.filter(lock__lte=now).order_by("lock").values_list("lock", flat=True).first()
    return QueueHealth(OrmQ.objects.count(), (now - oldest).total_seconds() if oldest else 0.0)


@dataclass(frozen=True)
class BrokerHealth:
    """The time since a broker last returned account data, and the number of client ids in use by other programs."""

    last_response_age_seconds: float | None
    client_id_conflicts: int


def broker_health() -> BrokerHealth:
    """Return the health of the broker connections, as recorded by runs."""
    latest = AccountStanding.objects.aggregate(at=Max("as_of"))["at"]
    return BrokerHealth(
        last_response_age_seconds=(timezone.now() - latest).total_seconds() if latest else None,
        client_id_conflicts=BrokerConnection.objects.filter(in_use_since__isnull=False).count(),
    )


def unreachable_broker() -> RebalanceRun | None:
    """Return the latest run that failed because its broker was unreachable; None if it has returned data since."""
    codes = {error.code for error in (BrokerConnectionError, BrokerUnreachable, BrokerSilent, ClientIdInUse)}
    states, since = (RunState.FAILED, RunState.NEEDS_ATTENTION), timezone.now() - OUTAGE_MAX_AGE
    failed = RebalanceRun.objects.filter(state__in=states, error_code__in=codes, finished_at__gt=since)
    latest = without_documents(failed.select_related("account")).order_by("-finished_at").first()
    if latest is None:
        return None
    of_broker = AccountStanding.objects.filter(account__broker=latest.account.broker, account__type=latest.account.type)
    return None if of_broker.filter(as_of__gt=latest.finished_at).exists() else latest


@dataclass(frozen=True)
class Overview:
    """The main health indicators of the installation."""

    workers_alive: bool
    needs_attention: int


def overview() -> Overview:
    """Return the main health indicators of the installation."""
    return Overview(
        workers_alive=any(heartbeat.is_fresh for heartbeat in heartbeats_of("worker")),
        needs_attention=RebalanceRun.objects.filter(state=RunState.NEEDS_ATTENTION).count(),
    )


def has_fresh_heartbeat(kind: str, host: str) -> bool:
    """Return whether a process of this kind on this host has written a heartbeat recently."""
    return any(heartbeat.is_fresh and heartbeat.name.startswith(f"{kind}:{host}:") for heartbeat in heartbeats_of(kind))


def site_problem(port: int) -> str:
    """Return what is wrong with the site on this host; empty if nothing is.

    Missing workers are not a problem of the site, which must be running to report them.
    """
    host = next((name for name in settings.ALLOWED_HOSTS if not name.startswith(("*", "."))), "localhost")
    site = HTTPConnection("127.0.0.1", port, timeout=SITE_TIMEOUT_SECONDS)
    try:
        # The header of a proxy, because the site may otherwise redirect to https.
        site.request("GET", "/healthz", headers={"Host": host, "X-Forwarded-Proto": "https"})
        answer = json.loads(site.getresponse().read(MAX_RESPONSE_BYTES))
    except (OSError, HTTPException, ValueError) as error:
        return f"the site does not respond on port {port}: {error}"
    finally:
        site.close()
    return "" if answer.get("database") == "ok" else "the site cannot reach its database"
