"""Whether the parts of the installation live, judged by rows of the database and their age.

Any process can ask, and gets the same answer: nothing here looks at the process it runs in.
"""

from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.utils import timezone
from django_q.models import OrmQ

from trading.models import ProcessHeartbeat, RebalanceRun, RunState


@dataclass(frozen=True)
class Sign:
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


def signs_of(kind: str) -> list[Sign]:
    """The processes of a kind that have ever shown a sign of life, by name."""
    now = timezone.now()
    rows = ProcessHeartbeat.objects.filter(kind=kind).order_by("name").values_list("name", "at")
    return [_sign(name, at, now) for name, at in rows]


def _sign(name: str, at: datetime, now: datetime) -> Sign:
    age_seconds = (now - at).total_seconds()
    return Sign(name, age_seconds, is_fresh=age_seconds <= 3 * settings.SWEEP_SECONDS + 5)


def overview() -> Overview:
    """The state of the installation now."""
    return Overview(
        workers_alive=any(sign.is_fresh for sign in signs_of("worker")),
        queued_tasks=OrmQ.objects.count(),
        needs_attention=RebalanceRun.objects.filter(state=RunState.NEEDS_ATTENTION).count(),
    )
