"""Whether the parts of the installation live, judged by rows of the database and their age.

Any process can ask, and gets the same answer: nothing here looks at the process it runs in.
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
from trading.monitoring.listener_report import FRESH_SECONDS, STOPPED, ListenerReport

SITE_SECONDS = 10.0
NEWS_FOR = timedelta(days=1)
LONGEST_ANSWER = 100_000


@dataclass(frozen=True)
class HeartbeatAge:
    """The latest sign of life of one process."""

    name: str
    age_seconds: float
    is_fresh: bool


@dataclass(frozen=True)
class Overview:
    """What a person should know at a glance."""

    workers_alive: bool
    queued_tasks: int
    needs_attention: int


def heartbeats_of(kind: str) -> list[HeartbeatAge]:
    """The processes of a kind that have ever shown a sign of life, by name."""
    now = timezone.now()
    return [_sign(row, now) for row in ProcessHeartbeat.objects.filter(kind=kind).order_by("name")]


def _sign(row: ProcessHeartbeat, now: datetime) -> HeartbeatAge:
    age_seconds = (now - row.at).total_seconds()
    # Plain `qcluster` shows one with each of its scheduled sweeps only.
    every_seconds = row.details.get("every_seconds", settings.SWEEP_SECONDS)
    return HeartbeatAge(row.name, age_seconds, is_fresh=age_seconds <= 3 * every_seconds + 5)


@dataclass(frozen=True)
class ListenerHealth:
    """Whether the events of the channels are heard, as the best of the listeners tells."""

    is_enabled: bool
    listener: str = ""
    report: ListenerReport | None = None
    troubles: tuple[str, ...] = ()

    @property
    def is_healthy(self) -> bool:
        """Whether every channel is heard that is to be heard."""
        return not self.is_enabled or not self.troubles

    @property
    def unheard(self) -> int:
        """How many channels are not heard at the moment."""
        return sum(channel.trouble_since is not None for channel in self.report.channels) if self.report else 0


def listener_health() -> ListenerHealth:
    """How the listeners stand, by their heartbeats: a row that is old, or tells of trouble, is not well."""
    now = timezone.now()
    rows = list(ProcessHeartbeat.objects.filter(kind="listener").order_by("-at"))
    stopped = not rows or rows[0].details.get("state") == STOPPED
    if stopped and not settings.REALTIME_API_KEY.get_secret_value():
        return ListenerHealth(is_enabled=False)
    fresh = [row for row in rows if (now - row.at).total_seconds() <= FRESH_SECONDS]
    heard = [_hearing(row, now) for row in fresh if row.details.get("state") != STOPPED]
    silent = ListenerHealth(is_enabled=True, troubles=("The listener shows no sign of life.",))
    return min(heard, key=lambda one: len(one.troubles), default=silent)


def _hearing(row: ProcessHeartbeat, now: datetime) -> ListenerHealth:
    try:
        report = ListenerReport.model_validate(row.details)
    except ValidationError:
        return ListenerHealth(True, row.name, troubles=("The listener's heartbeat is of another version.",))
    return ListenerHealth(True, row.name, report, tuple(report.troubles(now)))


@dataclass(frozen=True)
class QueueHealth:
    """How the queue stands."""

    tasks: int
    oldest_seconds: float


def queue_health() -> QueueHealth:
    """How many tasks wait, and since when the oldest of those that are due does."""
    now = timezone.now()
    oldest = OrmQ.objects.filter(lock__lte=now).order_by("lock").values_list("lock", flat=True).first()
    return QueueHealth(OrmQ.objects.count(), (now - oldest).total_seconds() if oldest else 0.0)


@dataclass(frozen=True)
class BrokerHealth:
    """How the brokers stand, as far as runs have found out."""

    answered_seconds_ago: float | None
    in_use_elsewhere: int


def broker_health() -> BrokerHealth:
    """When a broker last told of an account, and how many client ids are taken by somebody else."""
    latest = AccountStanding.objects.aggregate(at=Max("seen_at"))["at"]
    return BrokerHealth(
        answered_seconds_ago=(timezone.now() - latest).total_seconds() if latest else None,
        in_use_elsewhere=BrokerConnection.objects.filter(in_use_since__isnull=False).count(),
    )


def unreachable_broker() -> RebalanceRun | None:
    """The latest run that has failed because its broker was away; None once the broker has told of an account again."""
    away = {kind.code for kind in (BrokerConnectionError, BrokerUnreachable, BrokerSilent, ClientIdInUse)}
    failed = RebalanceRun.objects.filter(
        state__in=(RunState.FAILED, RunState.NEEDS_ATTENTION),
        error_code__in=away,
        finished_at__gt=timezone.now() - NEWS_FOR,
    )
    latest = without_documents(failed.select_related("account")).order_by("-finished_at").first()
    if latest is None:
        return None
    of_broker = AccountStanding.objects.filter(account__broker=latest.account.broker, account__type=latest.account.type)
    return None if of_broker.filter(seen_at__gt=latest.finished_at).exists() else latest


def overview() -> Overview:
    """The state of the installation now."""
    return Overview(
        workers_alive=any(sign.is_fresh for sign in heartbeats_of("worker")),
        queued_tasks=OrmQ.objects.count(),
        needs_attention=RebalanceRun.objects.filter(state=RunState.NEEDS_ATTENTION).count(),
    )


def this_host_shows(kind: str, host: str) -> bool:
    """Whether a process of this kind and host has shown a sign of life lately."""
    return any(sign.is_fresh and sign.name.startswith(f"{kind}:{host}:") for sign in heartbeats_of(kind))


def site_trouble(port: int) -> str:
    """What is wrong with the site of this host, as far as the site itself is to blame; empty when nothing is.

    A site without workers is a site that works: it has to be there to say so.
    """
    host = next((name for name in settings.ALLOWED_HOSTS if not name.startswith(("*", "."))), "localhost")
    site = HTTPConnection("127.0.0.1", port, timeout=SITE_SECONDS)
    try:
        # As the proxy would ask: otherwise the site may answer that it speaks TLS only.
        site.request("GET", "/healthz", headers={"Host": host, "X-Forwarded-Proto": "https"})
        answer = json.loads(site.getresponse().read(LONGEST_ANSWER))
    except (OSError, HTTPException, ValueError) as error:
        return f"The site does not answer on port {port}: {error}."
    finally:
        site.close()
    return "" if answer.get("database") == "ok" else "The site does not reach its database."
